// Guarded schemes and models; guard_exporter.cpp and guard_source.cpp have the others. One class an interface,
// one line a function. tests/plugin_host/guard_test.cpp reads these files and fails when a virtual function of an interface
// is not forwarded here.
#include <memory>
#include <utility>

#include <arkit/family_files.h>
#include <arkit/head_strips.h>

#include "plugins/guard_base.h"

namespace arkit::plugins {
namespace {

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

}  // namespace

std::shared_ptr<Scheme> guard(std::shared_ptr<Scheme> inner, OriginPtr origin) {
  return std::make_shared<GuardedScheme>(std::move(inner), std::move(origin));
}
std::shared_ptr<ModelAdapter> guard(std::shared_ptr<ModelAdapter> inner, OriginPtr origin) {
  if (dynamic_cast<const FamilyFiles*>(inner.get()) != nullptr)
    return std::make_shared<GuardedFamilyAdapter>(std::move(inner), std::move(origin));
  return std::make_shared<GuardedAdapter>(std::move(inner), std::move(origin));
}

}  // namespace arkit::plugins
