#include "source/outlined_source.h"

#include <utility>

#include <arkit/scheme.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/str.h>

namespace arkit {
namespace {

[[noreturn]] void absent(std::string_view what) {
  throw hub::WeightsAbsent(str("'", printable(what), "' is not fetched yet"));
}

class NoValues final : public WeightSource {
 public:
  explicit NoValues(const WeightSource& weights) { set_tensors(weights); }
  [[nodiscard]] at::Tensor load(std::string_view name) const override { absent(name); }
};

class NoCodes final : public PackedLayers {
 public:
  explicit NoCodes(const PackedLayers& packed) : packed_(packed) {}
  [[nodiscard]] std::span<const LinearSpec> layers() const override { return packed_.layers(); }
  [[nodiscard]] TensorMap tensors(std::string_view layer) const override { absent(layer); }
  [[nodiscard]] QuantizedWeight unpack(std::string_view layer) const override { absent(layer); }

 private:
  const PackedLayers& packed_;
};

class NoRanges final : public AttentionScales {
 public:
  explicit NoRanges(const AttentionScales& scales) : scales_(scales) {}
  [[nodiscard]] std::span<const AttentionSpec> modules() const override { return scales_.modules(); }
  [[nodiscard]] AttentionRanges ranges(std::string_view module) const override { absent(module); }

 private:
  const AttentionScales& scales_;
};

class OutlinedSource final : public sdk::ForwardingSource {
 public:
  explicit OutlinedSource(std::unique_ptr<ModelSource> source)
      : ForwardingSource(std::move(source)), weights_(inner().weights()) {
    if (const PackedLayers* packed = inner().packed()) packed_ = std::make_unique<NoCodes>(*packed);
    if (const AttentionScales* scales = inner().attention_scales()) scales_ = std::make_unique<NoRanges>(*scales);
  }
  [[nodiscard]] const WeightSource& weights() const override { return weights_; }
  [[nodiscard]] const PackedLayers* packed() const override { return packed_.get(); }
  [[nodiscard]] const AttentionScales* attention_scales() const override { return scales_.get(); }

 private:
  NoValues weights_;
  std::unique_ptr<NoCodes> packed_;
  std::unique_ptr<NoRanges> scales_;
};

}  // namespace

std::unique_ptr<ModelSource> without_values(std::unique_ptr<ModelSource> source) {
  return std::make_unique<OutlinedSource>(std::move(source));
}

}  // namespace arkit
