// Guarded readers, the sources they open, and transforms of these; as guard.cpp.
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include <arkit/file_tool.h>
#include <arkit/importance_files.h>

#include "plugins/guard_base.h"

namespace arkit::plugins {
namespace {

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
