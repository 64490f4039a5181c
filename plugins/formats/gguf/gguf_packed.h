#pragma once
// The linear layers of a GGUF file as packed ones: codes of 2 to 8 bits in groups of 16, 32 or 256. Scales of
// super-blocks are multiplied out, which is exact in float32, and those of whole tensors.

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/model_source.h>
#include <arkit/scheme.h>

#include "gguf_weights.h"

namespace arkit::gguf {

// `weights` shows packed layers as bytes and outlives this.
class GgufLayers final : public PackedLayers {
 public:
  GgufLayers(const File& file, const HyperParameters& parameters, const TensorScales& scales,
             const GgufWeights& weights);

  [[nodiscard]] std::span<const LinearSpec> layers() const override { return layers_; }
  [[nodiscard]] TensorMap tensors(std::string_view layer) const override;  // "weight", "bias", "scale" of the tensor
  [[nodiscard]] QuantizedWeight unpack(std::string_view layer) const override;

 private:
  struct Known {
    size_t index;  // of layers_
    TensorType type;
    float scale;  // of the whole tensor; 1 where it has none
  };
  [[nodiscard]] const Known& known(std::string_view layer) const;

  const GgufWeights& weights_;
  std::vector<LinearSpec> layers_;
  std::map<std::string, Known, std::less<>> by_name_;
};

}  // namespace arkit::gguf
