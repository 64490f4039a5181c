#pragma once
// The formulas of scaled_kernels.h one element at a time, from what an element grid is: ground truth of the tests and
// nothing else. Sums follow the order that scaled_kernels.h promises.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>

#include "scaled_kernels.h"

namespace arkit::sdk::scaled::ref {

inline float read(const void* data, Dtype dtype, int64_t i) {
  if (dtype == Dtype::f32) return static_cast<const float*>(data)[i];
  const uint16_t bits = static_cast<const uint16_t*>(data)[i];
  return dtype == Dtype::bf16 ? bfloat16_to_float(bits) : float16_to_float(bits);
}

inline void write(void* data, Dtype dtype, int64_t i, float x) {
  if (dtype == Dtype::f32)
    static_cast<float*>(data)[i] = x;
  else
    static_cast<uint16_t*>(data)[i] = dtype == Dtype::bf16 ? float_to_bfloat16(x) : float_to_float16(x);
}

// Number of a code: sign | exponent | mantissa; NaN beyond the largest.
inline float number(const ElementGrid& grid, int code) {
  const int sign_bit = 1 << (grid.bits - 1), steps = 1 << grid.mantissa;
  const int exponent = (code % sign_bit) / steps, mantissa = code % steps;
  const float size = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), grid.min_exponent - grid.mantissa)
                                   : std::ldexp(static_cast<float>(steps + mantissa),
                                                grid.min_exponent + exponent - 1 - grid.mantissa);
  if (size > grid.max) return std::nanf("");
  return code >= sign_bit ? -size : size;
}

// The nearest number of the grid, the even one of two; beyond the largest that.
inline float nearest(const ElementGrid& grid, float t) {
  if (std::isnan(t)) return t;
  if (std::fabs(t) >= grid.max) return std::copysign(grid.max, t);
  const int exponent = t == 0.0F ? grid.min_exponent : std::max(std::ilogb(t), grid.min_exponent);
  const double unit = std::ldexp(1.0, exponent - grid.mantissa);
  return static_cast<float>(std::copysign(std::nearbyint(static_cast<double>(t) / unit) * unit, t));
}

// The code whose number is `r`.
inline uint8_t code_of(const ElementGrid& grid, float r, bool signed_zero) {
  const int sign_bit = 1 << (grid.bits - 1);
  for (int code = 0; code < sign_bit; ++code)
    if (number(grid, code) == std::fabs(r)) {
      const bool negative = std::signbit(r) && (r != 0.0F || signed_zero);
      return static_cast<uint8_t>(negative ? code + sign_bit : code);
    }
  std::abort();  // no number of the grid
}

struct Part {
  int64_t offset, length;
};
inline Part part_of(const Groups& groups, int64_t i) {
  const int64_t row = i / groups.per_row, start = i % groups.per_row * groups.group;
  return {row * groups.in + start, std::min(groups.group, groups.in - start)};
}

// Element i goes to partial sum i % 16; those are added by halving.
struct Sum16 {
  std::array<float, 16> lanes{};
  void add(int64_t i, float x) { lanes[static_cast<size_t>(i % 16)] += x; }
  [[nodiscard]] float total() const {
    std::array<float, 16> l = lanes;
    for (size_t half = 8; half > 0; half /= 2)
      for (size_t i = 0; i < half; ++i) l[i] += l[i + half];
    return l[0];
  }
};

inline float quotient(const Args& a, float x, float scale, float inverse) {
  if (a.inverse != nullptr) return x * inverse;
  if (scale == 0.0F) return 0.0F;
  const float u = x / scale;
  if (!a.narrow_quotient || a.dtype == Dtype::f32) return u;
  return a.dtype == Dtype::bf16 ? round_to_bfloat16(u) : round_to_float16(u);
}

// x / scale + v of element j of group i.
inline float shifted(const Args& a, int64_t i, int64_t j) {
  const float inverse = a.inverse == nullptr ? 0.0F : a.inverse[i];
  const float u = quotient(a, read(a.x, a.dtype, part_of(a.groups, i).offset + j), a.scale[i], inverse);
  return u + (a.v == nullptr ? 0.0F : a.v[i * a.groups.group + j]);
}

inline bool peaks(const void* x, Dtype dtype, const Groups& groups, int64_t count, float* peak) {
  bool finite = true;
  for (int64_t i = 0; i < count; ++i) {
    const Part part = part_of(groups, i);
    peak[i] = 0.0F;
    for (int64_t j = 0; j < part.length; ++j) {
      const float size = std::fabs(read(x, dtype, part.offset + j));
      finite = finite && std::isfinite(size);
      peak[i] = std::fmax(peak[i], size);
    }
  }
  return finite;
}

inline void fake_quant(const Args& a, void* out, Dtype out_dtype, int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    for (int64_t j = 0; j < part_of(a.groups, i).length; ++j)
      write(out, out_dtype, part_of(a.groups, i).offset + j, nearest(a.grid, shifted(a, i, j)) * a.scale[i]);
}

inline void encode(const Args& a, bool signed_zero, uint8_t* codes, int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    for (int64_t j = 0; j < part_of(a.groups, i).length; ++j)
      codes[part_of(a.groups, i).offset + j] = code_of(a.grid, nearest(a.grid, shifted(a, i, j)), signed_zero);
}

// d y / d x is 0 where x / scale + v is cut off; else 1, or with follow_grid r / t of normal numbers.
inline void gradient(const Args& a, const GradientArgs& b, int64_t count) {
  const float least_normal = std::ldexp(1.0F, a.grid.min_exponent);
  for (int64_t i = 0; i < count; ++i) {
    const Part part = part_of(a.groups, i);
    Sum16 total;
    for (int64_t j = 0; j < a.groups.group; ++j) {
      float* const dv = b.grad_v == nullptr ? nullptr : b.grad_v + i * a.groups.group + j;
      if (j >= part.length) {
        if (dv != nullptr && !b.accumulate_v) *dv = 0.0F;  // padding
        continue;
      }
      const float inverse = a.inverse == nullptr ? 0.0F : a.inverse[i];
      const float u = quotient(a, read(a.x, a.dtype, part.offset + j), a.scale[i], inverse);
      const float t = shifted(a, i, j), r = nearest(a.grid, t), g = read(b.grad_out, b.grad_dtype, part.offset + j);
      float slope = a.follow_grid && std::fabs(t) >= least_normal ? r / t : 1.0F;
      if (std::fabs(t) > a.grid.max) slope = 0.0F;
      total.add(j, g * (r - slope * u));
      if (b.grad_x != nullptr) write(b.grad_x, b.grad_dtype, part.offset + j, g * slope);
      const float of_v = (g * a.scale[i]) * slope;
      if (dv != nullptr) *dv = b.accumulate_v ? *dv + of_v : of_v;
    }
    if (b.grad_scale != nullptr) b.grad_scale[i] = total.total();
  }
}

inline void choose(const Args& a, const float* importance, int64_t stride, int64_t candidates, int32_t* best,
                   int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const Part part = part_of(a.groups, i);
    const int64_t row = i / a.groups.per_row, column = part.offset - row * a.groups.in;
    float least = 0.0F;
    for (int64_t c = 0; c < candidates; ++c) {
      const float scale = a.scale[c * count + i], inverse = a.inverse == nullptr ? 0.0F : a.inverse[c * count + i];
      Sum16 total;
      for (int64_t j = 0; j < part.length; ++j) {
        const float w = read(a.x, a.dtype, part.offset + j);
        const float d = nearest(a.grid, quotient(a, w, scale, inverse)) * scale - w;
        total.add(j, importance == nullptr ? d * d : d * d * importance[row * stride + column + j]);
      }
      if (c > 0 && !(total.total() < least)) continue;
      least = total.total();
      best[i] = static_cast<int32_t>(c);
    }
  }
}

inline void decode(const DecodeArgs& a, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const Part part = part_of(a.groups, i);
    for (int64_t j = part.offset; j < part.offset + part.length; ++j)
      write(a.out, a.out_dtype, j, number(a.grid, a.codes[j]) * a.scale[i]);
  }
}

}  // namespace arkit::sdk::scaled::ref
