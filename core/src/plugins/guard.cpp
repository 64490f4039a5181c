// One class an interface, one line a function. tests/plugin_host/guard_test.cpp reads this file and fails when a
// virtual function of an interface is not forwarded here.
#include "plugins/guard.h"

#include <map>
#include <mutex>
#include <utility>

#include <ATen/ATen.h>

#include <arkit/exporter_options.h>
#include <arkit/family_files.h>
#include <arkit/file_tool.h>
#include <arkit/free_mix.h>
#include <arkit/head_strips.h>
#include <arkit/importance_files.h>
#include <arkit/source_check.h>
#include <arkit/str.h>

#include "plugins/guard_call.h"

namespace arkit::plugins {
namespace {

using std::string_view;

// Integers and types of one byte pass without a look.
bool is_finite(const at::Tensor& tensor) {
  if (!at::isFloatingType(tensor.scalar_type()) || tensor.element_size() < 2) return true;
  return at::isfinite(tensor).all().item<bool>();
}

// The plugin's object and whose it is.
template <typename Interface, typename Pointer = std::shared_ptr<Interface>>
class Guarded : public Interface {
 public:
  Guarded(Pointer inner, OriginPtr origin) : inner_(std::move(inner)), origin_(std::move(origin)) {}

 protected:
  template <typename Call>
  decltype(auto) call(string_view function, Call&& plugin_code) const {
    return call_plugin(*origin_, function, [&]() -> decltype(auto) { return plugin_code(*inner_); });
  }
  [[noreturn]] void refuse(const std::string& why) const {
    throw NamedError(ErrorCode::plugin, str(origin_->text(), ": its ", origin_->component, " ", why));
  }
  [[nodiscard]] const OriginPtr& origin() const noexcept { return origin_; }

  // A guarded object made by the plugin.
  template <typename GuardedType, typename Made, typename... More>
  [[nodiscard]] std::unique_ptr<Made> made(std::unique_ptr<Made> object, string_view function,
                                           const More&... more) const {
    if (object == nullptr) refuse(str("gave nothing back from ", function));
    return std::make_unique<GuardedType>(std::move(object), origin_, more...);
  }

  // Codes that miss their weight or scales that are no numbers would be written as they are.
  [[nodiscard]] QuantizedWeight checked(QuantizedWeight out, const at::Tensor& weight, string_view function) const {
    if (origin_->shipped) return out;
    if (!out.codes.defined() || out.codes.sizes() != weight.sizes())
      refuse(str("gave codes back from ", function, " that do not have the shape of their weight"));
    for (const auto& [name, tensor] : tensors_of(out))
      if (name != "codes" && !is_finite(tensor))
        refuse(str("gave a ", name, " back from ", function, " that is not finite"));
    return out;
  }

 private:
  Pointer inner_;
  OriginPtr origin_;
};

template <typename Interface>
using GuardedOwn = Guarded<Interface, std::unique_ptr<Interface>>;

class GuardedTuner final : public GuardedOwn<WeightTuner> {
 public:
  GuardedTuner(std::unique_ptr<WeightTuner> inner, OriginPtr origin, at::Tensor weight)
      : Guarded(std::move(inner), std::move(origin)), weight_(std::move(weight)) {}
  std::span<Trainable> trainables() override {
    return call("trainables()", [](WeightTuner& t) { return t.trainables(); });
  }
  void fake_quant(at::Tensor& out) override {
    call("fake_quant()", [&](WeightTuner& t) { t.fake_quant(out); });
  }
  void backward(const at::Tensor& grad_out) override {
    call("backward()", [&](WeightTuner& t) { t.backward(grad_out); });
  }
  QuantizedWeight finish() override {
    return checked(call("finish()", [](WeightTuner& t) { return t.finish(); }), weight_, "finish()");
  }

 private:
  at::Tensor weight_;  // for its shape
};

class GuardedScheme final : public Guarded<Scheme> {
 public:
  using Guarded::Guarded;
  const SchemeInfo& info() const noexcept override {
    return call("info()", [](Scheme& s) -> const SchemeInfo& { return s.info(); });
  }
  std::span<const Preset> presets() const override {
    return call("presets()", [](Scheme& s) { return s.presets(); });
  }
  Verdict supports(const LayerPlan& layer) const override {
    return call("supports()", [&](Scheme& s) { return s.supports(layer); });
  }
  double bits_per_weight(const LayerPlan& layer) const override {
    return call("bits_per_weight()", [&](Scheme& s) { return s.bits_per_weight(layer); });
  }
  SchemeTraits traits(const LayerQuant& quant) const override {
    return call("traits()", [&](Scheme& s) { return s.traits(quant); });
  }
  at::Tensor global_scale(const at::Tensor& weight, const TensorQuant& quant) const override {
    return call("global_scale()", [&](Scheme& s) { return s.global_scale(weight, quant); });
  }
  at::Tensor merge_global_scales(std::span<const at::Tensor> scales) const override {
    return call("merge_global_scales()", [&](Scheme& s) { return s.merge_global_scales(scales); });
  }
  std::unique_ptr<WeightTuner> tuner(const at::Tensor& weight, const TensorQuant& quant,
                                     const TuningSetup& setup) const override {
    return made<GuardedTuner>(call("tuner()", [&](Scheme& s) { return s.tuner(weight, quant, setup); }), "tuner()",
                              weight);
  }
  at::Tensor fake_quant_act(const at::Tensor& x, const TensorQuant& quant,
                            const at::Tensor& static_max) const override {
    return call("fake_quant_act()", [&](Scheme& s) { return s.fake_quant_act(x, quant, static_max); });
  }
  QuantizedWeight quantize_rtn(const at::Tensor& weight, const TensorQuant& quant, RtnMode mode,
                               const at::Tensor& imatrix, int64_t imatrix_count,
                               const at::Tensor& global_scale) const override {
    const auto round = [&](Scheme& s) {
      return s.quantize_rtn(weight, quant, mode, imatrix, imatrix_count, global_scale);
    };
    return checked(call("quantize_rtn()", round), weight, "quantize_rtn()");
  }
  at::Tensor dequantize(const QuantizedWeight& weight, const TensorQuant& quant, at::ScalarType dtype) const override {
    at::Tensor out = call("dequantize()", [&](Scheme& s) { return s.dequantize(weight, quant, dtype); });
    if (!origin()->shipped && (!out.defined() || !is_finite(out)))
      refuse("gave values back from dequantize() that are not finite");
    return out;
  }
};

class GuardedExportJob final : public GuardedOwn<ExportJob> {
 public:
  using Guarded::Guarded;
  void add_layer(const LayerRecord& layer) override {
    call("add_layer()", [&](ExportJob& job) { job.add_layer(layer); });
  }
  bool takes_strips(const LayerPlan& layer) const override {
    return call("takes_strips()", [&](const ExportJob& job) { return job.takes_strips(layer); });
  }
  void add_strip(const LayerRecord& strip, int64_t first_row) override {
    call("add_strip()", [&](ExportJob& job) { job.add_strip(strip, first_row); });
  }
  void add_plain(string_view name, const at::Tensor& tensor, bool changed) override {
    call("add_plain()", [&](ExportJob& job) { job.add_plain(name, tensor, changed); });
  }
  void add_attention(const AttentionRanges& ranges) override {
    call("add_attention()", [&](ExportJob& job) { job.add_attention(ranges); });
  }
  ExportReport finish() override {
    return call("finish()", [](ExportJob& job) { return job.finish(); });
  }
};

class GuardedExporter : public Guarded<Exporter> {
 public:
  using Guarded::Guarded;
  const ExporterInfo& info() const noexcept override {
    return call("info()", [](Exporter& e) -> const ExporterInfo& { return e.info(); });
  }
  std::span<const string_view> variants() const override {
    return call("variants()", [](Exporter& e) { return e.variants(); });
  }
  string_view implied_scheme(string_view variant) const override {
    return call("implied_scheme()", [&](Exporter& e) { return e.implied_scheme(variant); });
  }
  Refinement refine(const RefineRequest& request, string_view variant) const override {
    return call("refine()", [&](Exporter& e) { return e.refine(request, variant); });
  }
  bool rounds_without_family(string_view scheme, string_view variant) const override {
    return call("rounds_without_family()", [&](Exporter& e) { return e.rounds_without_family(scheme, variant); });
  }
  Verdict supports(const LayerPlan& layer, string_view variant) const override {
    return call("supports()", [&](Exporter& e) { return e.supports(layer, variant); });
  }
  Verdict supports_plan(const QuantPlan& plan, string_view variant) const override {
    return call("supports_plan()", [&](Exporter& e) { return e.supports_plan(plan, variant); });
  }
  TensorMap pack(const LayerRecord& layer, const QuantPlan& plan, string_view variant) const override {
    return call("pack()", [&](Exporter& e) { return e.pack(layer, plan, variant); });
  }
  QuantizedWeight unpack(const LayerPlan& layer, const TensorMap& packed, const QuantPlan& plan,
                         string_view variant) const override {
    return call("unpack()", [&](Exporter& e) { return e.unpack(layer, packed, plan, variant); });
  }
  int64_t packed_bytes(const LayerPlan& layer, string_view variant) const override {
    return call("packed_bytes()", [&](Exporter& e) { return e.packed_bytes(layer, variant); });
  }
  std::unique_ptr<ExportJob> open(const ExportRequest& request, string_view variant) const override {
    return made<GuardedExportJob>(call("open()", [&](Exporter& e) { return e.open(request, variant); }), "open()");
  }
};

// Of an exporter that has further faces (source_check.h, exporter_options.h).
template <typename Base>
class GuardedCheck : public Base, public SourceCheck {
 public:
  using Base::Base;
  Verdict supports_source(const ModelSource& source, const QuantPlan& plan, string_view variant) const override {
    return this->call("supports_source()", [&](Exporter& e) {
      return dynamic_cast<const SourceCheck&>(e).supports_source(source, plan, variant);
    });
  }
};
template <typename Base>
class GuardedOptions : public Base, public ExporterOptions {
 public:
  using Base::Base;
  std::span<const string_view> option_names() const override {
    return this->call("option_names()",
                      [](Exporter& e) { return dynamic_cast<const ExporterOptions&>(e).option_names(); });
  }
  std::shared_ptr<Exporter> with(const FormatWords& given) const override {
    std::shared_ptr<Exporter> told =
        this->call("with()", [&](Exporter& e) { return dynamic_cast<const ExporterOptions&>(e).with(given); });
    if (told == nullptr) this->refuse("gave nothing back from with()");
    return guard(std::move(told), this->origin());
  }
};

// Of one that mixes freely (free_mix.h), which is a SourceCheck too.
template <typename Base>
class GuardedMix : public Base, public FreeMix {
 public:
  using Base::Base;
  Verdict supports_source(const ModelSource& source, const QuantPlan& plan, string_view variant) const override {
    return this->call("supports_source()", [&](Exporter& e) { return face(e).supports_source(source, plan, variant); });
  }
  LayerQuant fitting(const LayerPlan& layer, string_view variant) const override {
    return this->call("fitting()", [&](Exporter& e) { return face(e).fitting(layer, variant); });
  }
  int64_t file_bytes(const ModelSource& source, const QuantPlan& plan, string_view variant) const override {
    return this->call("file_bytes()", [&](Exporter& e) { return face(e).file_bytes(source, plan, variant); });
  }

 private:
  static const FreeMix& face(Exporter& exporter) { return dynamic_cast<const FreeMix&>(exporter); }
};

class GuardedModel : public GuardedOwn<Model> {
 public:
  using Guarded::Guarded;
  int64_t num_blocks() const override {
    return call("num_blocks()", [](Model& m) { return m.num_blocks(); });
  }
  int64_t hidden_size() const override {
    return call("hidden_size()", [](Model& m) { return m.hidden_size(); });
  }
  int64_t vocab_size() const override {
    return call("vocab_size()", [](Model& m) { return m.vocab_size(); });
  }
  int64_t max_positions() const override {
    return call("max_positions()", [](Model& m) { return m.max_positions(); });
  }
  bool tied_embeddings() const override {
    return call("tied_embeddings()", [](Model& m) { return m.tied_embeddings(); });
  }
  std::string block_name(int64_t block) const override {
    return call("block_name()", [&](Model& m) { return m.block_name(block); });
  }
  std::vector<std::string> block_lists() const override {
    return call("block_lists()", [](Model& m) { return m.block_lists(); });
  }
  std::vector<LayerPlan> linears() const override {
    return call("linears()", [](Model& m) { return m.linears(); });
  }
  std::vector<AttentionPlan> attentions() const override {
    return call("attentions()", [](Model& m) { return m.attentions(); });
  }
  std::vector<std::string> norm_names(int64_t block) const override {
    return call("norm_names()", [&](Model& m) { return m.norm_names(block); });
  }
  void load_block(int64_t block) override {
    call("load_block()", [&](Model& m) { m.load_block(block); });
  }
  void release_block(int64_t block) noexcept override {
    call("release_block()", [&](Model& m) { m.release_block(block); });
  }
  std::vector<Linear*> block_linears(int64_t block) override {
    return call("block_linears()", [&](Model& m) { return m.block_linears(block); });
  }
  void load_rest() override {
    call("load_rest()", [](Model& m) { m.load_rest(); });
  }
  void release_rest() noexcept override {
    call("release_rest()", [](Model& m) { m.release_rest(); });
  }
  at::Tensor embed(const at::Tensor& input_ids) const override {
    return call("embed()", [&](Model& m) { return m.embed(input_ids); });
  }
  ForwardContext context(int64_t batch, int64_t seqlen, const at::Tensor& attention_mask,
                         const at::Tensor& position_ids, std::span<const SequenceSpan> sequences) const override {
    return call("context()",
                [&](Model& m) { return m.context(batch, seqlen, attention_mask, position_ids, sequences); });
  }
  at::Tensor run_block(int64_t block, const at::Tensor& hidden, const ForwardContext& context,
                       BlockHook& hook) const override {
    return call("run_block()", [&](Model& m) { return m.run_block(block, hidden, context, hook); });
  }
  at::Tensor logits(const at::Tensor& hidden, BlockHook& hook) const override {
    return call("logits()", [&](Model& m) { return m.logits(hidden, hook); });
  }
  Linear& head() override {
    return call("head()", [](Model& m) -> Linear& { return m.head(); });
  }
};

// Of a model that applies its head in strips (head_strips.h).
class GuardedStripModel final : public GuardedModel, public HeadStrips {
 public:
  using GuardedModel::GuardedModel;
  bool has_head_strips() const override {
    return call("has_head_strips()", [](Model& m) { return strips(m).has_head_strips(); });
  }
  Linear head_strip(int64_t first, int64_t count) const override {
    return call("head_strip()", [&](Model& m) { return strips(m).head_strip(first, count); });
  }
  at::Tensor strip_logits(const at::Tensor& hidden, const Linear& strip, BlockHook& hook) const override {
    return call("strip_logits()", [&](Model& m) { return strips(m).strip_logits(hidden, strip, hook); });
  }

 private:
  static const HeadStrips& strips(const Model& model) { return dynamic_cast<const HeadStrips&>(model); }
};

class GuardedAdapter : public Guarded<ModelAdapter> {
 public:
  using Guarded::Guarded;
  const AdapterInfo& info() const noexcept override {
    return call("info()", [](ModelAdapter& a) -> const AdapterInfo& { return a.info(); });
  }
  Verdict matches(const json::Object& config) const override {
    return call("matches()", [&](ModelAdapter& a) { return a.matches(config); });
  }
  ModelLayout layout(const ModelSource& source) const override {
    return call("layout()", [&](ModelAdapter& a) { return a.layout(source); });
  }
  std::unique_ptr<Model> open(const ModelSource& source, at::ScalarType dtype) const override {
    std::unique_ptr<Model> model = call("open()", [&](ModelAdapter& a) { return a.open(source, dtype); });
    if (dynamic_cast<const HeadStrips*>(model.get()) != nullptr)
      return made<GuardedStripModel>(std::move(model), "open()");
    return made<GuardedModel>(std::move(model), "open()");
  }
};

// Of an adapter that reads families from files (family_files.h).
class GuardedFamilyAdapter final : public GuardedAdapter, public FamilyFiles {
 public:
  using GuardedAdapter::GuardedAdapter;
  void read_families(std::span<const std::filesystem::path> places) override {
    call("read_families()", [&](ModelAdapter& a) { dynamic_cast<FamilyFiles&>(a).read_families(places); });
  }
  std::vector<FamilyFile> families() const override {
    return call("families()", [](ModelAdapter& a) { return dynamic_cast<FamilyFiles&>(a).families(); });
  }
  std::optional<FamilyFile> family_of(const json::Object& config) const override {
    return call("family_of()", [&](ModelAdapter& a) { return dynamic_cast<FamilyFiles&>(a).family_of(config); });
  }
};

class GuardedRotation final : public Guarded<InputRotation, std::shared_ptr<const InputRotation>> {
 public:
  using Guarded::Guarded;
  int64_t size() const override {
    return call("size()", [](const InputRotation& r) { return r.size(); });
  }
  at::Tensor apply(const at::Tensor& x) const override {
    return call("apply()", [&](const InputRotation& r) { return r.apply(x); });
  }
};

// The weights and the facets of a source live in it.
class GuardedWeights final : public Guarded<WeightSource, const WeightSource*> {
 public:
  GuardedWeights(const WeightSource* inner, OriginPtr origin) : Guarded(inner, std::move(origin)) {
    set_tensors(*inner);
  }
  at::Tensor load(string_view name) const override {
    return call("load()", [&](const WeightSource& w) { return w.load(name); });
  }
  bool decodes_rows(string_view name) const override {
    return call("decodes_rows()", [&](const WeightSource& w) { return w.decodes_rows(name); });
  }
  at::Tensor load_rows(string_view name, int64_t first, int64_t count) const override {
    return call("load_rows()", [&](const WeightSource& w) { return w.load_rows(name, first, count); });
  }
  void release(string_view name) const noexcept override {
    call("release()", [&](const WeightSource& w) { w.release(name); });
  }
};

class GuardedPacked final : public Guarded<PackedLayers, const PackedLayers*> {
 public:
  using Guarded::Guarded;
  std::span<const LinearSpec> layers() const override {
    return call("layers()", [](const PackedLayers& p) { return p.layers(); });
  }
  TensorMap tensors(string_view layer) const override {
    return call("tensors()", [&](const PackedLayers& p) { return p.tensors(layer); });
  }
  QuantizedWeight unpack(string_view layer) const override {
    return call("unpack()", [&](const PackedLayers& p) { return p.unpack(layer); });
  }
};

class GuardedScales final : public Guarded<AttentionScales, const AttentionScales*> {
 public:
  using Guarded::Guarded;
  std::span<const AttentionSpec> modules() const override {
    return call("modules()", [](const AttentionScales& a) { return a.modules(); });
  }
  AttentionRanges ranges(string_view module) const override {
    return call("ranges()", [&](const AttentionScales& a) { return a.ranges(module); });
  }
};

class GuardedRotations final : public Guarded<Rotations, const Rotations*> {
 public:
  using Guarded::Guarded;
  std::shared_ptr<const InputRotation> of_input(string_view layer) const override {
    return guarded(call("of_input()", [&](const Rotations& r) { return r.of_input(layer); }));
  }
  std::shared_ptr<const InputRotation> of_query_key() const override {
    return guarded(call("of_query_key()", [](const Rotations& r) { return r.of_query_key(); }));
  }
  const RotationRecord& record() const override {
    return call("record()", [](const Rotations& r) -> const RotationRecord& { return r.record(); });
  }
  std::optional<StoredRotation> stored(string_view layer) const override {
    return call("stored()", [&](const Rotations& r) { return r.stored(layer); });
  }

 private:
  [[nodiscard]] std::shared_ptr<const InputRotation> guarded(std::shared_ptr<const InputRotation> rotation) const {
    if (rotation == nullptr) return rotation;
    const std::lock_guard lock(mutex_);
    std::shared_ptr<const InputRotation>& known = known_[rotation.get()];  // layers that share one still do
    if (known == nullptr) known = std::make_shared<GuardedRotation>(std::move(rotation), origin());
    return known;
  }

  mutable std::mutex mutex_;
  mutable std::map<const InputRotation*, std::shared_ptr<const InputRotation>> known_;
};

class GuardedTokenizer final : public Guarded<TokenizerTexts, const TokenizerTexts*> {
 public:
  using Guarded::Guarded;
  std::string tokenizer_json() const override {
    return call("tokenizer_json()", [](const TokenizerTexts& t) { return t.tokenizer_json(); });
  }
  json::Object tokenizer_config() const override {
    return call("tokenizer_config()", [](const TokenizerTexts& t) { return t.tokenizer_config(); });
  }
};

class GuardedSource final : public GuardedOwn<ModelSource> {
 public:
  GuardedSource(std::unique_ptr<ModelSource> inner, const OriginPtr& origin)
      : Guarded(std::move(inner), origin),
        weights_(&call("weights()", [](ModelSource& s) -> const WeightSource& { return s.weights(); }), origin) {}

  std::string kind() const override {
    return call("kind()", [](ModelSource& s) { return s.kind(); });
  }
  const std::filesystem::path& path() const override {
    return call("path()", [](ModelSource& s) -> const std::filesystem::path& { return s.path(); });
  }
  const json::Object& config() const override {
    return call("config()", [](ModelSource& s) -> const json::Object& { return s.config(); });
  }
  const WeightSource& weights() const override { return weights_; }
  std::vector<CompanionFile> companions() const override {
    return call("companions()", [](ModelSource& s) { return s.companions(); });
  }
  const PackedLayers* packed() const override {
    return face(packed_, call("packed()", [](ModelSource& s) { return s.packed(); }));
  }
  const AttentionScales* attention_scales() const override {
    return face(scales_, call("attention_scales()", [](ModelSource& s) { return s.attention_scales(); }));
  }
  const Rotations* rotations() const override {
    return face(rotations_, call("rotations()", [](ModelSource& s) { return s.rotations(); }));
  }
  const TokenizerTexts* tokenizer() const override {
    return face(tokenizer_, call("tokenizer()", [](ModelSource& s) { return s.tokenizer(); }));
  }
  std::unique_ptr<ModelSource> plain() const override {
    std::unique_ptr<ModelSource> source = call("plain()", [](ModelSource& s) { return s.plain(); });
    return source == nullptr ? nullptr : std::make_unique<GuardedSource>(std::move(source), origin());
  }

 private:
  template <typename Facet, typename GuardedFacet>
  const Facet* face(std::map<const Facet*, GuardedFacet>& guarded, const Facet* facet) const {
    if (facet == nullptr) return nullptr;
    const std::lock_guard lock(mutex_);
    return &guarded.try_emplace(facet, facet, origin()).first->second;
  }

  GuardedWeights weights_;
  mutable std::mutex mutex_;
  mutable std::map<const PackedLayers*, GuardedPacked> packed_;
  mutable std::map<const AttentionScales*, GuardedScales> scales_;
  mutable std::map<const Rotations*, GuardedRotations> rotations_;
  mutable std::map<const TokenizerTexts*, GuardedTokenizer> tokenizer_;
};

class GuardedReader : public Guarded<ModelReader> {
 public:
  using Guarded::Guarded;
  const ReaderInfo& info() const noexcept override {
    return call("info()", [](ModelReader& r) -> const ReaderInfo& { return r.info(); });
  }
  Verdict matches(const std::filesystem::path& path, const json::Object* config) const override {
    return call("matches()", [&](ModelReader& r) { return r.matches(path, config); });
  }
  std::unique_ptr<ModelSource> open(const std::filesystem::path& path) const override {
    return made<GuardedSource>(call("open()", [&](ModelReader& r) { return r.open(path); }), "open()");
  }
};

// Faces that a reader may have beside its own, each put onto what is below: a tool for its files (file_tool.h), importance matrices
// (importance_files.h).
template <typename Below>
class GuardedTool : public Below, public FileTool {
 public:
  using Below::Below;
  json::Object work_on(const std::filesystem::path& file, const FileTask& task) const override {
    return this->call("work_on()",
                      [&](ModelReader& r) { return dynamic_cast<const FileTool&>(r).work_on(file, task); });
  }
};

template <typename Below>
class GuardedImportance : public Below, public ImportanceFiles {
 public:
  using Below::Below;
  ImportanceMatrix read_importance(const std::filesystem::path& path, const json::Object& config) const override {
    return this->call("read_importance()", [&](ModelReader& r) { return face(r).read_importance(path, config); });
  }
  Verdict writes_importance(const std::filesystem::path& name, const json::Object& config) const override {
    return this->call("writes_importance()", [&](ModelReader& r) { return face(r).writes_importance(name, config); });
  }
  std::string write_importance(const ImportanceMatrix& matrix, const std::filesystem::path& name,
                               const json::Object& config) const override {
    return this->call("write_importance()",
                      [&](ModelReader& r) { return face(r).write_importance(matrix, name, config); });
  }

 private:
  static const ImportanceFiles& face(ModelReader& reader) { return dynamic_cast<const ImportanceFiles&>(reader); }
};

class GuardedBlockTransform final : public GuardedOwn<BlockTransform> {
 public:
  using Guarded::Guarded;
  void begin(std::span<const ScalePlace> places, const BlockScene& scene) override {
    call("begin()", [&](BlockTransform& t) { t.begin(places, scene); });
  }
  ScaleChoice choose(const ScalePlace& place, const BlockScene& scene) override {
    ScaleChoice choice = call("choose()", [&](BlockTransform& t) { return t.choose(place, scene); });
    const at::Tensor& scales = choice.scales;
    if (scales.defined() &&
        (scales.sizes() != at::IntArrayRef({place.channels}) || !is_finite(scales) || !scales.gt(0).all().item<bool>()))
      refuse(str("gave scales back from choose() that are not ", place.channels, " positive numbers"));
    return choice;
  }
};

class GuardedRunTimePart final : public GuardedOwn<RunTimePart> {
 public:
  using Guarded::Guarded;
  void apply(QuantPlan& plan) override {
    call("apply()", [&](RunTimePart& part) { part.apply(plan); });
  }
  void apply_as(const ModelSource& exported) override {
    call("apply_as()", [&](RunTimePart& part) { part.apply_as(exported); });
  }
};

class GuardedTransform final : public Guarded<Transform> {
 public:
  using Guarded::Guarded;
  const TransformInfo& info() const noexcept override {
    return call("info()", [](Transform& t) -> const TransformInfo& { return t.info(); });
  }
  json::Object settings(const json::Object& given) const override {
    return call("settings()", [&](Transform& t) { return t.settings(given); });
  }
  Verdict wants(const ScalePlace& place, const QuantPlan& plan) const override {
    return call("wants()", [&](Transform& t) { return t.wants(place, plan); });
  }
  std::unique_ptr<BlockTransform> start(const json::Object& settings) const override {
    return made<GuardedBlockTransform>(call("start()", [&](Transform& t) { return t.start(settings); }), "start()");
  }
  TransformedCheckpoint around(std::unique_ptr<ModelSource> original, const std::string& text,
                               const RolesOf& roles) const override {
    TransformedCheckpoint given =
        call("around()", [&](Transform& t) { return t.around(std::move(original), text, roles); });
    return {made<GuardedSource>(std::move(given.source), "around()"),
            made<GuardedRunTimePart>(std::move(given.run_time), "around()")};
  }
  std::string recorded(const ModelSource& exported) const override {
    return call("recorded()", [&](Transform& t) { return t.recorded(exported); });
  }
};

}  // namespace

std::shared_ptr<Scheme> guard(std::shared_ptr<Scheme> inner, OriginPtr origin) {
  return std::make_shared<GuardedScheme>(std::move(inner), std::move(origin));
}
std::shared_ptr<Exporter> guard(std::shared_ptr<Exporter> inner, OriginPtr origin) {
  const bool options = dynamic_cast<const ExporterOptions*>(inner.get()) != nullptr;
  if (dynamic_cast<const FreeMix*>(inner.get()) != nullptr) {
    if (options)
      return std::make_shared<GuardedOptions<GuardedMix<GuardedExporter>>>(std::move(inner), std::move(origin));
    return std::make_shared<GuardedMix<GuardedExporter>>(std::move(inner), std::move(origin));
  }
  const bool checks = dynamic_cast<const SourceCheck*>(inner.get()) != nullptr;
  if (options) {
    if (checks)
      return std::make_shared<GuardedOptions<GuardedCheck<GuardedExporter>>>(std::move(inner), std::move(origin));
    return std::make_shared<GuardedOptions<GuardedExporter>>(std::move(inner), std::move(origin));
  }
  if (checks) return std::make_shared<GuardedCheck<GuardedExporter>>(std::move(inner), std::move(origin));
  return std::make_shared<GuardedExporter>(std::move(inner), std::move(origin));
}
std::shared_ptr<ModelAdapter> guard(std::shared_ptr<ModelAdapter> inner, OriginPtr origin) {
  if (dynamic_cast<const FamilyFiles*>(inner.get()) != nullptr)
    return std::make_shared<GuardedFamilyAdapter>(std::move(inner), std::move(origin));
  return std::make_shared<GuardedAdapter>(std::move(inner), std::move(origin));
}
std::shared_ptr<ModelReader> guard(std::shared_ptr<ModelReader> inner, OriginPtr origin) {
  const bool tool = dynamic_cast<const FileTool*>(inner.get()) != nullptr;
  if (dynamic_cast<const ImportanceFiles*>(inner.get()) != nullptr) {
    if (tool)
      return std::make_shared<GuardedTool<GuardedImportance<GuardedReader>>>(std::move(inner), std::move(origin));
    return std::make_shared<GuardedImportance<GuardedReader>>(std::move(inner), std::move(origin));
  }
  if (tool) return std::make_shared<GuardedTool<GuardedReader>>(std::move(inner), std::move(origin));
  return std::make_shared<GuardedReader>(std::move(inner), std::move(origin));
}
std::shared_ptr<Transform> guard(std::shared_ptr<Transform> inner, OriginPtr origin) {
  return std::make_shared<GuardedTransform>(std::move(inner), std::move(origin));
}

}  // namespace arkit::plugins
