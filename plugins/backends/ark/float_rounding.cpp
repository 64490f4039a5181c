#include "float_rounding.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace arkit::ark {
namespace {

constexpr float kMost = 448.0F;

// The nearest number of E4M3, half to even; magnitudes above the greatest become it.
float to_e4m3(float x) {
  uint32_t bits = 0;
  std::memcpy(&bits, &x, sizeof(bits));
  const uint32_t sign = bits & 0x80000000U;
  bits &= 0x7FFFFFFFU;
  if (bits > 0x7F800000U) return x;  // no number
  float size = 0;
  if (bits < 0x3C800000U) {  // 2^-6: steps of 2^-9 below
    std::memcpy(&size, &bits, sizeof(size));
    size = (size * 512.0F + 8388608.0F - 8388608.0F) / 512.0F;
  } else {
    bits = (bits + 0x7FFFFU + (bits >> 20 & 1U)) & ~0xFFFFFU;
    std::memcpy(&size, &bits, sizeof(size));
    size = std::min(size, kMost);
  }
  std::memcpy(&bits, &size, sizeof(bits));
  bits |= sign;
  std::memcpy(&size, &bits, sizeof(size));
  return size;
}

float scale_for(const Rounding& rounding, float peak) {
  if (rounding.kind == Rounding::e4m3) return std::max(peak / kMost, 1.0F / (kMost * 512.0F));
  const int exponent = peak == 0 ? 1 : std::ilogb(peak) - 8;
  return std::ldexp(1.0F, std::clamp(exponent, -127, 127));
}

}  // namespace

std::optional<Rounding> rounding_of(const sdk::QuantSpec& activation, int64_t in_features) {
  if (!activation.quantized()) return Rounding{};
  if (activation.bits != 8 || activation.block_rows != 0 || !activation.observer.empty()) return std::nullopt;
  const int64_t size = activation.group_size;
  if (activation.data_type == "fp") {
    if (activation.dynamic && size == 0) return std::nullopt;  // a scale for all rows together
    return Rounding{.kind = Rounding::e4m3, .group = activation.dynamic && size > 0 ? size : in_features};
  }
  if (activation.data_type == "mx_fp" && activation.dynamic && size > 0)
    return Rounding{.kind = Rounding::mx_e4m3, .group = size};
  return std::nullopt;
}

void round_row(const Rounding& rounding, const float* x, int64_t count, float* out) {
  if (rounding.kind == Rounding::none) {
    if (out != x) std::copy_n(x, count, out);
    return;
  }
  for (int64_t first = 0; first < count; first += rounding.group) {
    const int64_t end = std::min(count, first + rounding.group);
    float peak = rounding.limit;
    if (peak == 0)
      for (int64_t i = first; i < end; ++i) {
        const float size = std::abs(x[i]);
        peak = size > peak || std::isnan(size) ? size : peak;
      }
    const float scale = scale_for(rounding, peak);
    for (int64_t i = first; i < end; ++i) out[i] = to_e4m3(x[i] / scale) * scale;
  }
}

}  // namespace arkit::ark
