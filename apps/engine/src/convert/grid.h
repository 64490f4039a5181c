#pragma once
// Are two quantized weights the same numbers? What convert asks of a format before it writes, and of the files after it
// has written.

#include <cstdint>
#include <string>

#include <arkit/export.h>
#include <arkit/scheme.h>

namespace arkit {

// What `got` lost of `wanted`. Groups are compared as the files state them: code, zero point, scale.
struct GridDifference {
  int64_t weights = 0, groups = 0;
  std::string broken;        // what cannot be the same grid at all: shape, type, scattered groups, lost zero points
  int64_t moved_groups = 0;  // code and zero point moved by the same amount: the same numbers
  int64_t rounded_scales = 0;
  double max_scale = 0.0;       // relative
  int64_t rounded_offsets = 0;  // what is added to code * scale
  double max_offset = 0.0;      // in steps

  [[nodiscard]] bool exact() const { return broken.empty() && rounded_scales == 0 && rounded_offsets == 0; }
  // One clause about what is lost; empty when exact.
  [[nodiscard]] ARKIT_INTERNAL std::string words() const;
};

[[nodiscard]] ARKIT_INTERNAL GridDifference compare_grids(const QuantizedWeight& wanted, const QuantizedWeight& got,
                                                          const TensorQuant& quant);

}  // namespace arkit
