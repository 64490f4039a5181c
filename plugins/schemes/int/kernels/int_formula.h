#pragma once
// The scale of one group: the scalar half of docs/spec/integers.md 1 to 3 and docs/spec/signround.md 10. Included by
// the fast kernels only; the reference has its own copy written the long way. always_inline for the reason given in
// sdk/float16.h.

#include <arkit/sdk/float16.h>

#include "int_kernels.h"

namespace arkit::int_scheme {

ARKIT_ALWAYS_INLINE float round_to(Dtype dtype, float x) {
  if (dtype == Dtype::bf16) return sdk::round_to_bfloat16(x);
  if (dtype == Dtype::f16) return sdk::round_to_float16(x);
  return x;
}

ARKIT_ALWAYS_INLINE float load_scalar(const void* data, Dtype dtype, int64_t i) {
  if (dtype == Dtype::f32) return static_cast<const float*>(data)[i];
  const uint16_t bits = static_cast<const uint16_t*>(data)[i];
  return dtype == Dtype::bf16 ? sdk::bfloat16_to_float(bits) : sdk::float16_to_float(bits);
}

ARKIT_ALWAYS_INLINE void store_scalar(void* data, Dtype dtype, int64_t i, float x) {
  if (dtype == Dtype::f32)
    static_cast<float*>(data)[i] = x;
  else
    static_cast<uint16_t*>(data)[i] = dtype == Dtype::bf16 ? sdk::float_to_bfloat16(x) : sdk::float_to_float16(x);
}

// torch's promotion of W / s: two equal 16-bit types stay, any other pair computes in f32.
ARKIT_ALWAYS_INLINE Dtype quotient_dtype(const Formula& f) {
  return f.weight == f.scale ? f.weight : Dtype::f32;
}

ARKIT_ALWAYS_INLINE float scale_floor(Dtype scale) {
  return scale == Dtype::f32 ? 1e-8F : round_to(scale, 1e-5F);
}

// Half to even for |x| < 2^23, without the library call.
ARKIT_ALWAYS_INLINE float round_even(float x) {
  const float magnitude = sdk::float_from_bits(sdk::float_bits(x) & 0x7FFFFFFFU);
  if (!(magnitude < 8388608.0F)) return x;
  const float rounded = (magnitude + 8388608.0F) - 8388608.0F;
  return sdk::float_from_bits(sdk::float_bits(rounded) | (sdk::float_bits(x) & 0x80000000U));
}

// What a group's elements need, and what its gradient needs beside it.
struct GroupScale {
  float s = 0, zp = 0;
  float low = 0, high = 0;   // range of r (sym) or of r + zp (asym)
  float unfloored = 0;       // s before the floor: the floor passes gradient only where it did nothing
  float wmin = 0, wmax = 0;  // weight_min * min_scale, weight_max * max_scale
};

ARKIT_ALWAYS_INLINE float floored(float s, float floor, bool sym) {
  if (sym && s < 0) return s > -floor ? -floor : s;
  return s < floor ? floor : s;
}

// 2^floor(log2 x) for finite x > 0; of a subnormal x the least normal number.
ARKIT_ALWAYS_INLINE float power_below(float x) {
  const uint32_t exponent = sdk::float_bits(x) & 0x7F800000U;
  return sdk::float_from_bits(exponent == 0 ? 0x00800000U : exponent);
}

// A power of two that `scale` holds: 2^-24 .. 2^15 in float16.
ARKIT_ALWAYS_INLINE float power_of_two_scale(Dtype scale, float peak, int bits) {
  const float s = (peak > 0 ? power_below(peak) : 1.0F) / static_cast<float>(1 << (bits - 2));
  if (scale != Dtype::f16) return s;
  return s < 0x1p-24F ? 0x1p-24F : s > 0x1p15F ? 0x1p15F : s;
}

// The scale of a symmetric range by a rule other than full_range.
ARKIT_ALWAYS_INLINE float scale_by_rule(const Formula& f, Dtype range, float neg, float pos) {
  const float peak = pos < neg ? neg : pos;
  if (f.rule == ScaleRule::power_of_two) return power_of_two_scale(f.scale, peak, f.bits);
  const auto steps = static_cast<float>((1 << f.bits) - 1);
  return round_to(f.scale, round_to(range, round_to(range, neg > 0 ? peak + peak : peak) / steps));
}

// The zero point behind a range that was made from it and rounded to 16 bits: the shorter end is less than half a step
// off.
ARKIT_ALWAYS_INLINE float zero_point_of(float s, float maxq, float group_min, float group_max) {
  return -group_min <= group_max ? round_even(-group_min / s) : maxq - round_even(group_max / s);
}

// `range_dtype` is the weight's dtype when no vector of scales takes part, else f32.
ARKIT_ALWAYS_INLINE GroupScale group_scale(const WeightArgs& a, int64_t i, float group_min, float group_max) {
  const Formula& f = a.formula;
  const float floor = scale_floor(f.scale);
  const bool scaled = a.min_scale != nullptr;
  const Dtype range = scaled ? Dtype::f32 : f.weight;
  GroupScale g;
  g.wmin = scaled ? group_min * a.min_scale[i] : group_min;
  g.wmax = scaled ? group_max * a.max_scale[i] : group_max;
  if (f.sym) {
    const auto maxq = static_cast<float>(1 << (f.bits - 1));
    g.low = -maxq;
    g.high = maxq - 1;
    if (a.given_scale != nullptr) {
      g.s = g.unfloored = a.given_scale[i];
      return g;
    }
    if (f.rule != ScaleRule::full_range) {
      g.unfloored = scale_by_rule(f, range, -g.wmin, g.wmax);
      g.s = f.rule == ScaleRule::gptq ? floored(g.unfloored, floor, false) : g.unfloored;
      return g;
    }
    if (a.init_scale != nullptr) {
      g.unfloored = round_to(f.scale, a.max_scale != nullptr ? a.init_scale[i] * a.max_scale[i] : a.init_scale[i]);
    } else {
      const float neg = -g.wmin, pos = g.wmax;
      g.unfloored = round_to(f.scale, round_to(range, (pos < neg ? neg : -pos) / maxq));
    }
    g.s = floored(g.unfloored, floor, true);
    return g;
  }
  const auto maxq = static_cast<float>((1 << f.bits) - 1);
  g.low = 0;
  g.high = maxq;
  if (a.given_scale != nullptr) {
    g.s = g.unfloored = a.given_scale[i];
    g.zp = a.given_zero_point != nullptr ? a.given_zero_point[i] : zero_point_of(g.s, maxq, group_min, group_max);
    return g;
  }
  g.unfloored = round_to(f.scale, round_to(range, round_to(range, g.wmax - g.wmin) / maxq));
  g.s = floored(g.unfloored, floor, false);
  g.zp = round_even(round_to(range == f.scale ? range : Dtype::f32, -g.wmin / g.s));
  return g;
}

// One rounded term of the scale's gradient: autograd casts every term to the scale's dtype where the scale was cast. A
// term may overflow to infinity there, and the loss curves of the reference depend on it (signround_int4_asym_accum2);
// the optimizer takes the sign of infinity and no step for inf - inf, so no scale is poisoned
// (docs/spec/signround.md 11).
ARKIT_ALWAYS_INLINE float gradient_term(Dtype scale, float x) {
  return round_to(scale, x);
}

// d s / d peak by a rule other than full_range; 0 where a floor holds the scale.
ARKIT_ALWAYS_INLINE float scale_slope(const Formula& f, const GroupScale& g, float peak) {
  if (f.rule == ScaleRule::power_of_two) return peak > 0 ? g.s / peak : 0.0F;
  if (!(g.unfloored >= scale_floor(f.scale))) return 0;
  return (g.wmin < 0 ? 2.0F : 1.0F) / static_cast<float>((1 << f.bits) - 1);
}

// d loss / d min_scale and max_scale of group i from the group's sums: ratio = sum of G u over elements in range, code
// = sum of G (q - zp), outside = sum of G over elements out of range (asym: y depends on wmin there through zp).
ARKIT_ALWAYS_INLINE void add_scale_gradient(const WeightArgs& a, const BackwardArgs& b, int64_t i, const GroupScale& g,
                                            float ratio, float code, float outside) {
  const Formula& f = a.formula;
  const float floor = scale_floor(f.scale);
  float ds = gradient_term(f.scale, gradient_term(f.scale, code) + gradient_term(f.scale, -ratio));
  float d_min = 0, d_max = 0;
  if (f.sym && f.rule != ScaleRule::full_range) {
    const float neg = -g.wmin, pos = g.wmax, share = pos == neg ? 0.5F : 1.0F;
    const float d = ds * scale_slope(f, g, pos < neg ? neg : pos);
    if (neg >= pos) d_min = -(d * share) * load_scalar(a.weight_min, f.weight, i);
    if (pos >= neg) d_max = d * share * load_scalar(a.weight_max, f.weight, i);
  } else if (f.sym) {
    const bool passes = g.unfloored < 0 ? g.unfloored <= -floor : g.unfloored >= floor;
    if (!passes) ds = 0;
    if (a.init_scale != nullptr) {
      d_max = ds * a.init_scale[i];
    } else {
      const float neg = -g.wmin, pos = g.wmax, d = ds / static_cast<float>(1 << (f.bits - 1));
      const float d_signed = pos < neg ? d : -d, share = pos == neg ? 0.5F : 1.0F;
      if (neg >= pos) d_min = -(d_signed * share) * load_scalar(a.weight_min, f.weight, i);
      if (pos >= neg) d_max = d_signed * share * load_scalar(a.weight_max, f.weight, i);
    }
  } else {
    ds = gradient_term(f.scale, ds + gradient_term(f.scale, outside * (-g.wmin / g.s)));
    if (!(g.unfloored >= floor)) ds = 0;
    const float d = ds / static_cast<float>((1 << f.bits) - 1);
    d_min = (outside - d) * load_scalar(a.weight_min, f.weight, i);
    d_max = d * load_scalar(a.weight_max, f.weight, i);
  }
  if (b.grad_min_scale != nullptr) b.grad_min_scale[i] = b.accumulate_scale ? b.grad_min_scale[i] + d_min : d_min;
  if (b.grad_max_scale != nullptr) b.grad_max_scale[i] = b.accumulate_scale ? b.grad_max_scale[i] + d_max : d_max;
}

}  // namespace arkit::int_scheme
