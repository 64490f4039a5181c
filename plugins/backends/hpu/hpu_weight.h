#pragma once
// 4-bit weights as the vendor's operator takes them (docs/spec/gpu-layouts.md 4). No LibTorch here.

#include <cstdint>
#include <string>
#include <vector>

#include <arkit/sdk/cuda/layer_numbers.h>

namespace arkit::hpu {

// Why a layer cannot be given to the operator; empty = it can.
std::string why_not(const sdk::LinearSpec& layer);

struct HpuWeight {
  int64_t inputs = 0, outputs = 0, groups = 0;
  int64_t columns = 0;         // outputs, filled up to 8
  std::vector<int32_t> codes;  // [inputs, columns / 8]: nibble i of word c is column 8c + i
  std::vector<int32_t> zeros;  // [groups, columns / 8], true zero points
  std::vector<float> scales;   // [groups, columns]
  std::vector<float> bias;     // [outputs] or empty

  // Throws BackendError(ARKIT_UNSUPPORTED) for zero points that are no nibbles and for act order, which the specification
  // of a layer does not show.
  HpuWeight(const cuda::LayerNumbers& layer, const std::string& name);
};

}  // namespace arkit::hpu
