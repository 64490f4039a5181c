#pragma once
// Packed layers side by side on one input: the work of one thread among several.

#include <cstdint>
#include <span>
#include <vector>

#include "arena.h"
#include "float_rounding.h"
#include "packed_weight.h"

namespace arkit::ark {

inline constexpr int64_t kWorthThreads = int64_t{1} << 19;  // products of codes that pay for waking other threads

// One layer as it is kept.
struct ArkLayer {
  PackedWeight weight;
  std::vector<float> bias;     // [out]; empty = none
  std::vector<int32_t> order;  // see LayerCodes
  Rounding rounding = {};      // of its input, where that is multiplied as it is

  [[nodiscard]] size_t bytes() const noexcept {
    return weight.bytes().size() + bias.size() * sizeof(float) + order.size() * sizeof(int32_t);
  }
};

// Where sums go: y[row][n] = sum + bias, or y += scale * (sum + bias).
struct Output {
  float* floats = nullptr;       // either
  uint16_t* bfloat16 = nullptr;  // or
  int64_t stride = 0;            // numbers from one row to the next
  bool add = false;              // to floats
  float scale = 1;
};

class LayerGroup {
 public:
  // `levels` as Kernels::quantize takes them; with `exact` all inputs are multiplied as they are.
  LayerGroup(const Kernels& kernels, std::vector<ArkLayer> layers, int32_t levels = kMostLevels, bool exact = false);

  [[nodiscard]] const std::vector<ArkLayer>& layers() const noexcept { return layers_; }
  [[nodiscard]] int64_t in_features() const noexcept { return layers_.front().weight.blocks().in_features; }
  [[nodiscard]] int64_t panels() const noexcept { return panels_to_.back(); }
  [[nodiscard]] size_t bytes() const noexcept;

  // x of some rows as the kernels want it, once for each way in which layers do.
  struct Input {
    float *floats = nullptr, *float_sums = nullptr;  // either
    int8_t* codes = nullptr;                         // or
    float* scales = nullptr;
    int32_t* sums = nullptr;
  };
  [[nodiscard]] size_t input_count() const noexcept { return inputs_.size(); }
  [[nodiscard]] size_t input_bytes(int64_t rows) const;
  [[nodiscard]] std::vector<Input> take_inputs(Arena& arena, int64_t rows) const;
  [[nodiscard]] int64_t row_scratch() const noexcept { return 2 * deepest_; }  // floats

  // A row of x [in_features] to row `to` of the inputs.
  void quantize(const float* x, std::span<const Input> inputs, int64_t to, float* scratch) const;
  // Panels `begin` .. `end`-1 of all layers one behind the other; outputs as layers().
  void multiply(int64_t begin, int64_t end, std::span<const Input> inputs, int64_t rows,
                std::span<const Output> outputs) const;

 private:
  void multiply_panel(size_t layer, int64_t panel, const Input& input, int64_t rows, const Output& output) const;

  const Kernels& kernels_;
  [[nodiscard]] bool in_floats(const ArkLayer& layer) const {
    return exact_ || layer.weight.view().kind != CodeKind::integer;
  }

  int32_t levels_;
  bool exact_;
  std::vector<ArkLayer> layers_;
  std::vector<size_t> input_of_;    // of each layer, among inputs_
  std::vector<size_t> inputs_;      // a layer for each
  std::vector<int64_t> panels_to_;  // panels of this layer and those before it
  int64_t deepest_ = 0;
};

}  // namespace arkit::ark
