// The fast kernels, compiled once per instruction set by int_kernels_<isa>.cpp, which defines ARKIT_ISA first. No
// standard library templates here: see sdk/simd16.h.
//
// A group is walked in strips of 16 elements. The short last strip of a group is copied through a buffer padded with
// zeros: they add nothing to any sum and are not written back.

#include <arkit/sdk/simd16.h>

#include "int_formula.h"

namespace arkit::int_scheme::ARKIT_ISA {
namespace {

using namespace sdk::ARKIT_ISA;

struct Range {
  float min, max;
  bool finite;
};

template <typename W>
ARKIT_ALWAYS_INLINE Range range_of(const W* w, int64_t n) {
  Floats low = splat(0.0F), high = low;
  Mask bits = magnitude_bits(low);
  for (int64_t i = 0; i < n; i += kWidth) {
    const Floats x = load_strip(w + i, n - i);
    low = min_of(x, low);
    high = max_of(x, high);
    bits = max_of(bits, magnitude_bits(x));
  }
  return {lowest(low), highest(high), highest(bits) < 0x7F800000};
}

ARKIT_ALWAYS_INLINE Floats round_quotient(Dtype dtype, Floats x) {
  if (dtype == Dtype::bf16) return round_to_bfloat16(x);
  if (dtype == Dtype::f16) return round_to_float16(x);
  return x;
}

bool group_range(const void* weight, Dtype dtype, const Groups& groups, int64_t begin, int64_t end, void* min,
                 void* max) {
  bool finite = true;
  with_type(dtype, weight, [&](const auto* w) {
    for (int64_t i = begin; i < end; ++i) {
      const Span span = group_span(groups, i);
      const Range r = range_of(w + span.offset, span.length);
      store_scalar(min, dtype, i, r.min);
      store_scalar(max, dtype, i, r.max);
      finite = finite && r.finite;
    }
  });
  return finite;
}

// Per-group constants in vector form, and the element formula: r = round(u + V), q = clamp(r + zp) - zp.
struct Element {
  Floats s, zp, low, high;
  Dtype quotient;

  ARKIT_ALWAYS_INLINE Element(const GroupScale& g, Dtype quotient_type)
      : s(splat(g.s)), zp(splat(g.zp)), low(splat(g.low)), high(splat(g.high)), quotient(quotient_type) {}

  ARKIT_ALWAYS_INLINE Floats ratio(Floats w) const { return round_quotient(quotient, w / s); }
  template <bool kSym>
  ARKIT_ALWAYS_INLINE Floats code(Floats r) const {  // asym: with zp
    return clamp(kSym ? r : r + zp, low, high);
  }
};

ARKIT_ALWAYS_INLINE GroupScale scale_of(const WeightArgs& a, int64_t i) {
  return group_scale(a, i, load_scalar(a.weight_min, a.formula.weight, i),
                     load_scalar(a.weight_max, a.formula.weight, i));
}

template <bool kSym, typename W, typename Out>
void fake_quant_typed(const WeightArgs& a, const W* w, Out* out, int64_t begin, int64_t end) {
  const Dtype quotient = quotient_dtype(a.formula);
  for (int64_t i = begin; i < end; ++i) {
    const Span span = group_span(a.groups, i);
    const Element e(scale_of(a, i), quotient);
    const float* v = a.v == nullptr ? nullptr : a.v + i * a.groups.group;
    const auto strip = [&](int64_t j, int64_t n) __attribute__((always_inline)) {
      Floats u = e.ratio(load_strip(w + span.offset + j, n));
      if (v != nullptr) u = u + load_strip(v + j, n);
      const Floats q = e.template code<kSym>(round_even(u));
      store_strip(out + span.offset + j, e.s * (kSym ? q : q - e.zp), n);
    };
    int64_t j = 0;
    for (; j + kWidth <= span.length; j += kWidth) strip(j, kWidth);
    if (j < span.length) strip(j, span.length - j);
  }
}

void fake_quant(const WeightArgs& a, void* out, Dtype out_dtype, int64_t begin, int64_t end) {
  with_type(a.formula.weight, a.weight, [&](const auto* w) {
    with_type(out_dtype, out, [&](auto* o) {
      if (a.formula.sym)
        fake_quant_typed<true>(a, w, o, begin, end);
      else
        fake_quant_typed<false>(a, w, o, begin, end);
    });
  });
}

template <bool kSym, typename W>
bool quantize_typed(const WeightArgs& a, const W* w, const CodesOut& out, int64_t begin, int64_t end) {
  const Dtype quotient = quotient_dtype(a.formula);
  const Floats offset = splat(static_cast<float>(kSym ? 1 << (a.formula.bits - 1) : 0));
  bool finite = true;
  for (int64_t i = begin; i < end; ++i) {
    const Span span = group_span(a.groups, i);
    const Range range = range_of(w + span.offset, span.length);
    finite = finite && range.finite;
    const GroupScale g = a.weight_min != nullptr ? scale_of(a, i) : group_scale(a, i, range.min, range.max);
    const Element e(g, quotient);
    const float* v = a.v == nullptr ? nullptr : a.v + i * a.groups.group;
    const auto strip = [&](int64_t j, int64_t n) __attribute__((always_inline)) {
      Floats u = e.ratio(load_strip(w + span.offset + j, n));
      if (v != nullptr) u = u + load_strip(v + j, n);
      store_codes_strip(out.codes + span.offset + j, e.template code<kSym>(round_even(u)) + offset, n);
    };
    int64_t j = 0;
    for (; j + kWidth <= span.length; j += kWidth) strip(j, kWidth);
    if (j < span.length) strip(j, span.length - j);
    store_scalar(out.scale, a.formula.scale, i, g.s);
    if (out.zero_point != nullptr) out.zero_point[i] = g.zp;
  }
  return finite;
}

bool quantize(const WeightArgs& a, const CodesOut& out, int64_t begin, int64_t end) {
  bool finite = true;
  with_type(a.formula.weight, a.weight, [&](const auto* w) {
    finite = a.formula.sym ? quantize_typed<true>(a, w, out, begin, end) : quantize_typed<false>(a, w, out, begin, end);
  });
  return finite;
}

// Sums over a group that its scale's gradient is made of.
struct GroupSums {
  Floats ratio = splat(0.0F);    // sum of G u where r is in range
  Floats code = splat(0.0F);     // sum of G (q - zp)
  Floats outside = splat(0.0F);  // sum of G where r is out of range
};

template <bool kSym, typename W, typename G>
void backward_typed(const WeightArgs& a, const BackwardArgs& b, const W* w, const G* grad, int64_t begin, int64_t end) {
  const Dtype quotient = quotient_dtype(a.formula);
  for (int64_t i = begin; i < end; ++i) {
    const Span span = group_span(a.groups, i);
    const GroupScale scale = scale_of(a, i);
    const Element e(scale, quotient);
    const float* v = a.v == nullptr ? nullptr : a.v + i * a.groups.group;
    float* grad_v = b.grad_v == nullptr ? nullptr : b.grad_v + i * a.groups.group;
    GroupSums sums;
    const auto strip = [&](int64_t j, int64_t n) __attribute__((always_inline)) {
      const Floats u = e.ratio(load_strip(w + span.offset + j, n));
      const Floats g = load_strip(grad + span.offset + j, n);
      const Floats r = round_even(v != nullptr ? u + load_strip(v + j, n) : u);
      const Floats shifted = kSym ? r : r + e.zp;
      const Mask inside = in_range(shifted, e.low, e.high);
      const Floats q = clamp(shifted, e.low, e.high);
      sums.ratio = sums.ratio + where(inside, g * u);
      sums.code = sums.code + g * (kSym ? q : q - e.zp);
      if (!kSym) sums.outside = sums.outside + where_not(inside, g);
      if (grad_v == nullptr) return;
      const Floats dv = where(inside, g * e.s);
      store_strip(grad_v + j, b.accumulate_v ? load_strip(grad_v + j, n) + dv : dv, n);
    };
    int64_t j = 0;
    for (; j + kWidth <= span.length; j += kWidth) strip(j, kWidth);
    if (j < span.length) strip(j, span.length - j);
    if (grad_v != nullptr && !b.accumulate_v)
      for (int64_t k = span.length; k < a.groups.group; ++k) grad_v[k] = 0;
    if (b.grad_min_scale != nullptr || b.grad_max_scale != nullptr)
      add_scale_gradient(a, b, i, scale, sum(sums.ratio), sum(sums.code), sum(sums.outside));
  }
}

void backward(const WeightArgs& a, const BackwardArgs& b, int64_t begin, int64_t end) {
  with_type(a.formula.weight, a.weight, [&](const auto* w) {
    with_type(b.grad_dtype, b.grad_out, [&](const auto* grad) {
      if (a.formula.sym)
        backward_typed<true>(a, b, w, grad, begin, end);
      else
        backward_typed<false>(a, b, w, grad, begin, end);
    });
  });
}

void dequantize(const DequantArgs& a, int64_t begin, int64_t end) {
  with_type(a.out_dtype, a.out, [&](auto* out) {
    for (int64_t i = begin; i < end; ++i) {
      const Span span = group_span(a.groups, i);
      const Floats s = splat(load_scalar(a.scale, a.scale_dtype, i));
      const Floats zp = splat(a.zero_point == nullptr ? a.offset : a.zero_point[i]);
      int64_t j = 0;
      for (; j + kWidth <= span.length; j += kWidth)
        store(out + span.offset + j, s * (load_codes(a.codes + span.offset + j) - zp));
      if (j == span.length) continue;
      uint8_t padded[kWidth] = {};
      for (int64_t k = j; k < span.length; ++k) padded[k - j] = a.codes[span.offset + k];
      store_strip(out + span.offset + j, s * (load_codes(padded) - zp), span.length - j);
    }
  });
}

}  // namespace
}  // namespace arkit::int_scheme::ARKIT_ISA

#include "int_search_impl.h"

#include "int_neuqi_impl.h"

#define ARKIT_KERNELS_NAME_(isa) kernels_##isa
#define ARKIT_KERNELS_NAME(isa) ARKIT_KERNELS_NAME_(isa)
#define ARKIT_TEXT_(x) #x
#define ARKIT_TEXT(x) ARKIT_TEXT_(x)

namespace arkit::int_scheme {
const Kernels ARKIT_KERNELS_NAME(ARKIT_ISA) = {ARKIT_TEXT(ARKIT_ISA), ARKIT_ISA::group_range, ARKIT_ISA::fake_quant,
                                               ARKIT_ISA::quantize,   ARKIT_ISA::backward,    ARKIT_ISA::search,
                                               ARKIT_ISA::neuqi,      ARKIT_ISA::dequantize};
}
