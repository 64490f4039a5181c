// The kernels of scaled_kernels.h, compiled once per instruction set by scaled_kernels_<isa>.cpp, which defines
// ARKIT_ISA first. No standard library templates here: see sdk/simd16.h.

#include <arkit/sdk/simd16.h>

#include "scaled_kernels.h"

namespace arkit::sdk::scaled::ARKIT_ISA {
namespace {

using namespace sdk::ARKIT_ISA;

ARKIT_ALWAYS_INLINE Floats magnitude(Floats x) {
  ARKIT_EACH_PART x.p[part] = (NativeF)((NativeI)x.p[part] & INT32_MAX);
  return x;
}

// The element grid in vector form.
struct Grid {
  Floats low, high, min_normal;
  int32_t magic_shift;  // added to the bits of 2^e gives 2^(e + 23 - mantissa), whose unit is the grid's step at 2^e
  ElementGrid grid;

  ARKIT_ALWAYS_INLINE explicit Grid(const ElementGrid& g)
      : low(splat(-g.max)),
        high(splat(g.max)),
        min_normal(splat(float_from_bits(static_cast<uint32_t>(127 + g.min_exponent) << 23))),
        magic_shift((23 - g.mantissa) << 23),
        grid(g) {}

  // Half to even on the grid; |t| <= high. Keeps NaN and the sign of zero.
  ARKIT_ALWAYS_INLINE Floats round(Floats t) const {
    ARKIT_EACH_PART {
      const NativeI bits = (NativeI)t.p[part], sign = bits & INT32_MIN;
      const NativeF a = (NativeF)(bits & INT32_MAX), least = min_normal.p[part], base = a > least ? a : least;
      const NativeF magic = (NativeF)(((NativeI)base & 0x7F800000) + magic_shift);
      t.p[part] = (NativeF)((NativeI)((a + magic) - magic) | sign);
    }
    return t;
  }

  // Code of a number on the grid.
  ARKIT_ALWAYS_INLINE Mask code(Floats r, bool signed_zero) const {
    const int m = grid.mantissa;
    const int32_t bias = (126 + grid.min_exponent) << m, keep_zero = signed_zero ? -1 : 0;
    const float per_step = float_from_bits(static_cast<uint32_t>(127 + m - grid.min_exponent) << 23);
    Mask c;
    ARKIT_EACH_PART {
      const NativeI bits = (NativeI)r.p[part], mag = bits & INT32_MAX, nonzero = mag != 0;
      const NativeI normal = (mag >> (23 - m)) - bias, is_normal = mag >= (NativeI)min_normal.p[part];
      const NativeI subnormal = __builtin_convertvector((NativeF)mag * per_step, NativeI);
      const NativeI sign = (bits < 0) & (nonzero | keep_zero) & (1 << (grid.bits - 1));
      c.p[part] = (normal & is_normal) | (subnormal & ~is_normal) | sign;
    }
    return c;
  }

  // Number of a code; codes beyond the largest number (NaN and infinity of the 8-bit floats) become NaN.
  ARKIT_ALWAYS_INLINE Floats number(Mask codes) const {
    const int m = grid.mantissa;
    const int32_t bias = (126 + grid.min_exponent) << 23, magnitude_mask = (1 << (grid.bits - 1)) - 1;
    const auto largest = static_cast<int32_t>(float_bits(grid.max) >> (23 - m)) - ((126 + grid.min_exponent) << m);
    const float step = float_from_bits(static_cast<uint32_t>(127 + grid.min_exponent - m) << 23);
    Floats r;
    ARKIT_EACH_PART {
      const NativeI mag = codes.p[part] & magnitude_mask, sign = (codes.p[part] & (magnitude_mask + 1)) != 0;
      const NativeI normal = (mag << (23 - m)) + bias, is_normal = mag >= (1 << m), bad = mag > largest;
      const NativeI subnormal = (NativeI)(__builtin_convertvector(mag, NativeF) * step);
      const NativeI value = (normal & is_normal) | (subnormal & ~is_normal);
      r.p[part] = (NativeF)((value & ~bad) | (bad & 0x7FC00000) | (sign & INT32_MIN));
    }
    return r;
  }
};

ARKIT_ALWAYS_INLINE Floats round_quotient(Dtype dtype, Floats x) {
  if (dtype == Dtype::bf16) return round_to_bfloat16(x);
  if (dtype == Dtype::f16) return round_to_float16(x);
  return x;
}

ARKIT_ALWAYS_INLINE Mask splat_mask(bool on) {
  Mask m;
  ARKIT_EACH_PART m.p[part] = NativeI{} - (on ? 1 : 0);
  return m;
}

// One group: its constants and the way from a value to the grid.
struct Group {
  const Args& args;
  Floats scale, factor;
  Mask alive;  // a scale of 0 makes every element 0
  const float* v;

  ARKIT_ALWAYS_INLINE Group(const Args& a, int64_t i)
      : args(a),
        scale(splat(a.scale[i])),
        factor(splat(a.inverse == nullptr ? a.scale[i] : a.inverse[i])),
        alive(splat_mask(a.scale[i] != 0)),
        v(a.v == nullptr ? nullptr : a.v + i * a.groups.group) {}

  ARKIT_ALWAYS_INLINE Floats quotient(Floats x) const {
    if (args.inverse != nullptr) return x * factor;
    const Floats u = where(alive, x / factor);
    return args.narrow_quotient ? round_quotient(args.dtype, u) : u;
  }
  // -0 + 0 is 0: a weight of -0 counts as positive, as it does where the reference adds v.
  ARKIT_ALWAYS_INLINE Floats shifted(Floats u, int64_t j, int64_t n) const {
    return u + (v == nullptr ? splat(0.0F) : load_strip(v + j, n));
  }
};

template <typename Strip>
ARKIT_ALWAYS_INLINE void each_strip(int64_t length, const Strip& strip) {
  int64_t j = 0;
  for (; j + kWidth <= length; j += kWidth) strip(j, kWidth);
  if (j < length) strip(j, length - j);
}

bool peaks(const void* data, Dtype dtype, const Groups& groups, int64_t begin, int64_t end, float* peak) {
  bool finite = true;
  with_type(dtype, data, [&](const auto* x) {
    for (int64_t i = begin; i < end; ++i) {
      const Span span = group_span(groups, i);
      Mask bits = magnitude_bits(splat(0.0F));  // of floats that are >= 0 the bits are in the order of the values
      for (int64_t j = 0; j < span.length; j += kWidth)
        bits = max_of(bits, magnitude_bits(load_strip(x + span.offset + j, span.length - j)));
      const int32_t top = highest(bits);
      finite = finite && top < 0x7F800000;
      peak[i] = float_from_bits(static_cast<uint32_t>(top));
    }
  });
  return finite;
}

void fake_quant(const Args& a, void* out_data, Dtype out_dtype, int64_t begin, int64_t end) {
  const Grid grid(a.grid);
  with_type(a.dtype, a.x, [&](const auto* x) {
    with_type(out_dtype, out_data, [&](auto* out) {
      for (int64_t i = begin; i < end; ++i) {
        const Span span = group_span(a.groups, i);
        const Group group(a, i);
        each_strip(
            span.length, [&](int64_t j, int64_t n) __attribute__((always_inline)) {
              const Floats t = group.shifted(group.quotient(load_strip(x + span.offset + j, n)), j, n);
              store_strip(out + span.offset + j, grid.round(clamp(t, grid.low, grid.high)) * group.scale, n);
            });
      }
    });
  });
}

void encode(const Args& a, bool signed_zero, uint8_t* codes, int64_t begin, int64_t end) {
  const Grid grid(a.grid);
  with_type(a.dtype, a.x, [&](const auto* x) {
    for (int64_t i = begin; i < end; ++i) {
      const Span span = group_span(a.groups, i);
      const Group group(a, i);
      each_strip(
          span.length, [&](int64_t j, int64_t n) __attribute__((always_inline)) {
            const Floats t = group.shifted(group.quotient(load_strip(x + span.offset + j, n)), j, n);
            const Floats r = grid.round(clamp(t, grid.low, grid.high));
            store_codes_strip(codes + span.offset + j, grid.code(r, signed_zero), n);
          });
    }
  });
}

// d element / d t before the clamp is looked at.
ARKIT_ALWAYS_INLINE Floats element_slope(const Args& a, const Grid& grid, Floats r, Floats t) {
  Floats slope = splat(1.0F);
  if (!a.follow_grid) return slope;
  const Floats ratio = r / t, size = magnitude(t);
  ARKIT_EACH_PART slope.p[part] = size.p[part] >= grid.min_normal.p[part] ? ratio.p[part] : slope.p[part];
  return slope;
}

template <typename X, typename G>
ARKIT_ALWAYS_INLINE void gradient_typed(const Args& a, const GradientArgs& b, const X* x, const G* grad, int64_t begin,
                                        int64_t end) {
  const Grid grid(a.grid);
  G* const grad_x = static_cast<G*>(b.grad_x);
  for (int64_t i = begin; i < end; ++i) {
    const Span span = group_span(a.groups, i);
    const Group group(a, i);
    float* const grad_v = b.grad_v == nullptr ? nullptr : b.grad_v + i * a.groups.group;
    Floats total = splat(0.0F);
    each_strip(
        span.length, [&](int64_t j, int64_t n) __attribute__((always_inline)) {
          const Floats g = load_strip(grad + span.offset + j, n);
          const Floats u = group.quotient(load_strip(x + span.offset + j, n)), t = group.shifted(u, j, n);
          const Mask inside = in_range(t, grid.low, grid.high);
          const Floats r = grid.round(clamp(t, grid.low, grid.high));
          const Floats slope = where(inside, element_slope(a, grid, r, t));
          total = total + g * (r - slope * u);
          if (grad_x != nullptr) store_strip(grad_x + span.offset + j, g * slope, n);
          if (grad_v == nullptr) return;
          const Floats dv = (g * group.scale) * slope;
          store_strip(grad_v + j, b.accumulate_v ? load_strip(grad_v + j, n) + dv : dv, n);
        });
    if (grad_v != nullptr && !b.accumulate_v)
      for (int64_t k = span.length; k < a.groups.group; ++k) grad_v[k] = 0;
    if (b.grad_scale != nullptr) b.grad_scale[i] = sum(total);
  }
}

void gradient(const Args& a, const GradientArgs& b, int64_t begin, int64_t end) {
  with_type(a.dtype, a.x, [&](const auto* x) {
    with_type(b.grad_dtype, b.grad_out, [&](const auto* grad) { gradient_typed(a, b, x, grad, begin, end); });
  });
}

void choose(const Args& all, const float* importance, int64_t stride, int64_t count, int32_t* best, int64_t begin,
            int64_t end) {
  const Grid grid(all.grid);
  with_type(all.dtype, all.x, [&](const auto* x) {
    for (int64_t i = begin; i < end; ++i) {
      const Span span = group_span(all.groups, i);
      const int64_t row = i / all.groups.per_row, column = span.offset - row * all.groups.in;
      const float* const weight = importance == nullptr ? nullptr : importance + row * stride + column;
      float least = 0;
      for (int64_t c = 0; c < count; ++c) {
        Args a = all;
        a.scale = all.scale + c * (end - begin);
        if (all.inverse != nullptr) a.inverse = all.inverse + c * (end - begin);
        const Group group(a, i - begin);
        Floats total = splat(0.0F);
        each_strip(
            span.length, [&](int64_t j, int64_t n) __attribute__((always_inline)) {
              const Floats w = load_strip(x + span.offset + j, n);
              const Floats d = grid.round(clamp(group.quotient(w), grid.low, grid.high)) * group.scale - w;
              total = total + (weight == nullptr ? d * d : (d * d) * load_strip(weight + j, n));
            });
        const float loss = sum(total);
        if (c > 0 && !(loss < least)) continue;
        least = loss;
        best[i - begin] = static_cast<int32_t>(c);
      }
    }
  });
}

void decode(const DecodeArgs& a, int64_t begin, int64_t end) {
  const Grid grid(a.grid);
  with_type(a.out_dtype, a.out, [&](auto* out) {
    for (int64_t i = begin; i < end; ++i) {
      const Span span = group_span(a.groups, i);
      const Floats scale = splat(a.scale[i]);
      each_strip(
          span.length, [&](int64_t j, int64_t n) __attribute__((always_inline)) {
            uint8_t padded[kWidth] = {};
            const uint8_t* from = a.codes + span.offset + j;
            if (n < kWidth) {
              for (int64_t k = 0; k < n; ++k) padded[k] = from[k];
              from = padded;
            }
            store_strip(out + span.offset + j, grid.number(load_bytes(from)) * scale, n);
          });
    }
  });
}

}  // namespace
}  // namespace arkit::sdk::scaled::ARKIT_ISA

#define ARKIT_KERNELS_NAME_(isa) kernels_##isa
#define ARKIT_KERNELS_NAME(isa) ARKIT_KERNELS_NAME_(isa)
#define ARKIT_TEXT_(x) #x
#define ARKIT_TEXT(x) ARKIT_TEXT_(x)

namespace arkit::sdk::scaled {
const Kernels ARKIT_KERNELS_NAME(ARKIT_ISA) = {ARKIT_TEXT(ARKIT_ISA), ARKIT_ISA::peaks,    ARKIT_ISA::fake_quant,
                                               ARKIT_ISA::encode,     ARKIT_ISA::gradient, ARKIT_ISA::choose,
                                               ARKIT_ISA::decode};
}
