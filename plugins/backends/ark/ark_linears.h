#pragma once
// Layers on one input, ready to run.

#include <vector>

#include <arkit/sdk/backend.h>

#include "packed_weight.h"

namespace arkit::ark {

// One layer as it is kept.
struct ArkLayer {
  PackedWeight weight;
  std::vector<float> bias;     // [out]; empty = none
  std::vector<int32_t> order;  // see LayerCodes
};

class ArkLinears final : public sdk::PreparedLinears {
 public:
  ArkLinears(const Kernels& kernels, int threads, ArkitType type, std::vector<ArkLayer> layers);

  // What save() wrote; throws BackendError for anything else.
  static std::vector<ArkLayer> read(std::span<const std::byte> blob);

  [[nodiscard]] int64_t bytes() const override;
  [[nodiscard]] ArkitType x_type() const override { return type_; }
  void run(const sdk::TensorView& x, std::span<const sdk::TensorView> y, ArkitStream*) override;
  void save(const sdk::BlobSink& sink) const override;

 private:
  // One way in which layers want x: its blocks and the order of its columns.
  struct Input {
    const ArkLayer* of;
    int8_t* codes;  // see Activations, of the rows at hand
    float* scales;
    int32_t* sums;
  };
  void quantize(const sdk::TensorView& x, int64_t row, const Input& input, int64_t to, float* scratch) const;
  void multiply(size_t layer, int64_t panel, const Input& input, int64_t rows, const sdk::TensorView& y, int64_t first) const;

  const Kernels& kernels_;
  int threads_;
  ArkitType type_;
  std::vector<ArkLayer> layers_;
  std::vector<size_t> input_of_;     // of each layer, among inputs_
  std::vector<size_t> inputs_;       // a layer for each
  std::vector<int64_t> panels_to_;   // panels of this layer and those before it
};

}  // namespace arkit::ark
