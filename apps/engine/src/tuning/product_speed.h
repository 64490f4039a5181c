#pragma once
// How fast this machine multiplies matrices in f32 and in bf16: what `--amp_dtype auto` goes by. An instruction for
// bf16 alone says little; on some CPUs its products run at half the speed of f32.

#include <filesystem>
#include <string>

#include <ATen/core/Tensor.h>

#include <arkit/export.h>
#include <arkit/json.h>

namespace arkit {

struct ProductSpeed {
  double float32 = 0, bfloat16 = 0;  // GFLOP/s of a tuned layer's products
  bool kept = false;                 // read from an earlier run's file
  // bf16 only where it is clearly faster: f32 loses nothing to rounding.
  [[nodiscard]] at::ScalarType faster() const { return bfloat16 > 1.15 * float32 ? at::kBFloat16 : at::kFloat; }
};

// Some milliseconds on the threads there are.
[[nodiscard]] ARKIT_INTERNAL ProductSpeed measure_products();

// The figures kept in `folder` for this CPU, its limit (ARKIT_CPU), number of threads and library versions, or
// measured now and kept. A file that cannot be read, used or written only costs the measurement.
[[nodiscard]] ARKIT_INTERNAL ProductSpeed kept_product_speed(const std::filesystem::path& folder);

// The same with the user's cache folder ($XDG_CACHE_HOME/arkit or ~/.cache/arkit), looked at once a process.
[[nodiscard]] ARKIT_INTERNAL const ProductSpeed& product_speed();

}  // namespace arkit
