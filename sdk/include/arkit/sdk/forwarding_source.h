#pragma once
// A source around another one: what decorators derive from, so that each says only what it changes.

#include <functional>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/descriptors.h>
#include <arkit/model_source.h>
#include <arkit/scheme.h>

namespace arkit::sdk {

// Of sources that may lack the facet: empty and null there.
[[nodiscard]] std::span<const LinearSpec> packed_layers(const ModelSource& source);
[[nodiscard]] std::span<const AttentionSpec> attention_modules(const ModelSource& source);
[[nodiscard]] std::shared_ptr<const InputRotation> input_rotation(const ModelSource& source, std::string_view layer);
// For those who know that there are packed layers. Throws ErrorCode::input where none are.
[[nodiscard]] const PackedLayers& packed_of(const ModelSource& source);

// Everything is the other's, facets too. A decorator that changes weights looks at each facet: packed() and rotations()
// speak of weights as the other has them.
class ForwardingSource : public ModelSource {
 public:
  explicit ForwardingSource(std::unique_ptr<ModelSource> inner);
  explicit ForwardingSource(const ModelSource& inner);  // outlives this
  ~ForwardingSource() override;

  [[nodiscard]] std::string kind() const override;
  [[nodiscard]] const std::filesystem::path& path() const override;
  [[nodiscard]] const json::Object& config() const override;
  [[nodiscard]] const WeightSource& weights() const override;
  [[nodiscard]] std::vector<CompanionFile> companions() const override;
  [[nodiscard]] const PackedLayers* packed() const override;
  [[nodiscard]] const AttentionScales* attention_scales() const override;
  [[nodiscard]] const Rotations* rotations() const override;
  [[nodiscard]] const TokenizerTexts* tokenizer() const override;

 protected:
  [[nodiscard]] const ModelSource& inner() const noexcept { return *inner_; }
  void own(std::unique_ptr<ModelSource> inner);  // the one that was borrowed

 private:
  std::unique_ptr<ModelSource> owned_;  // null = borrowed
  const ModelSource* inner_;
};

// Some of a source's packed layers; it knows nothing of the others. `source` outlives it.
class PackedSelection : public PackedLayers {
 public:
  PackedSelection(const ModelSource& source, const std::function<bool(const LinearSpec&)>& keep);

  [[nodiscard]] const PackedLayers* facet() const noexcept { return layers_.empty() ? nullptr : this; }
  [[nodiscard]] std::span<const LinearSpec> layers() const override { return layers_; }
  [[nodiscard]] TensorMap tensors(std::string_view layer) const override;
  [[nodiscard]] QuantizedWeight unpack(std::string_view layer) const override;

 protected:
  [[nodiscard]] std::vector<LinearSpec>& selected() noexcept { return layers_; }  // while it is constructed

 private:
  [[nodiscard]] const PackedLayers& all_for(std::string_view layer) const;

  const ModelSource& source_;
  std::vector<LinearSpec> layers_;
  std::set<std::string, std::less<>> names_;  // of layers_: a mixture has thousands
};

// Some of the attention modules with static scales. `source` outlives it.
class ScalesSelection final : public AttentionScales {
 public:
  ScalesSelection(const ModelSource& source, const std::function<bool(const AttentionSpec&)>& keep);

  [[nodiscard]] const AttentionScales* facet() const noexcept { return modules_.empty() ? nullptr : this; }
  [[nodiscard]] std::span<const AttentionSpec> modules() const override { return modules_; }
  [[nodiscard]] AttentionRanges ranges(std::string_view module) const override;

 private:
  const ModelSource& source_;
  std::vector<AttentionSpec> modules_;
};

}  // namespace arkit::sdk
