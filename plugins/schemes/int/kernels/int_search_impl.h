// The OPT-RTN scale search of the fast kernels: the second half of int_kernels_impl.h.
//
// Arithmetic happens in the weight's dtype (every operation rounded to it), the loss in f32. A candidate wins when its
// loss is strictly smaller, so the first of equals stays.

#include <arkit/sdk/simd16.h>

#include "int_formula.h"
#include "int_search.h"

namespace arkit::int_scheme::ARKIT_ISA {
namespace {

// Rounding of one operation's result to the weight's dtype, scalar and vector.
template <Dtype kDtype>
ARKIT_ALWAYS_INLINE Floats rounded(Floats x) {
  if constexpr (kDtype == Dtype::bf16) return round_to_bfloat16(x);
  if constexpr (kDtype == Dtype::f16) return round_to_float16(x);
  return x;
}

// 1 / x, or 0 where |x| is below the type's limit.
template <Dtype kDtype>
ARKIT_ALWAYS_INLINE float reciprocal(float x) {
  const float limit = round_to(kDtype, kDtype == Dtype::f16 ? 1e-5F : 1e-30F);
  const float magnitude = x < 0 ? -x : x;
  return magnitude >= limit ? round_to(kDtype, 1.0F / x) : 0.0F;
}

template <Dtype kDtype>
ARKIT_ALWAYS_INLINE float loss_of(const float* w, const float* importance, int64_t n, float inverse, float scale,
                                  float nmax) {
  const Floats is = splat(inverse), s = splat(scale), low = splat(-nmax), high = splat(nmax - 1);
  Floats total = splat(0.0F);
  for (int64_t j = 0; j < n; j += kWidth) {
    const Floats x = load(w + j);
    const Floats q = clamp(round_even(rounded<kDtype>(is * x)), low, high);
    const Floats d = rounded<kDtype>(rounded<kDtype>(s * q) - x);
    total = total + (d * d) * load(importance + j);
  }
  return sum(total);
}

// docs/spec/rtn.md 3 for one group of `size` elements, of which `n` exist and the others are padding (w = 0, importance
// 1e-5).
template <Dtype kDtype>
void repair_importance(const float* w, float* importance, int64_t n, int64_t size, int bits) {
  int64_t zeros = 0;
  for (int64_t j = 0; j < n; ++j) zeros += importance[j] <= 1e-30F;
  if (zeros == 0) return;
  if (zeros > size / 2) {
    float square_sum = 0;
    for (int64_t j = 0; j < n; ++j) square_sum += round_to(kDtype, w[j] * w[j]);
    const float mean = round_to(kDtype, round_to(kDtype, square_sum) / 32.0F);
    const float extra = bits <= 3 ? 0.0F : round_to(kDtype, __builtin_sqrtf(mean));
    for (int64_t j = 0; j < n; ++j) importance[j] = round_to(kDtype, (w[j] < 0 ? -w[j] : w[j]) + extra);
    return;
  }
  float total = 0;
  for (int64_t j = 0; j < n; ++j) total += importance[j];
  total += 1e-5F * static_cast<float>(size - n);
  const float mean = total / static_cast<float>(size - zeros);
  for (int64_t j = 0; j < n; ++j)
    if (importance[j] <= 1e-30F) importance[j] = mean;
}

// Copies group i to `w` and its importances beside it, repaired where they must be; returns how many there are.
template <Dtype kDtype, typename W>
ARKIT_ALWAYS_INLINE int64_t load_group(const SearchArgs& a, const W* weight, int64_t i, float* w, float* importance) {
  const Span span = group_span(a.groups, i);
  const int64_t n = span.length;
  for (int64_t j = 0; j < n; j += kWidth) {
    store(w + j, load_strip(weight + span.offset + j, n - j));
    store(importance + j,
          a.imatrix == nullptr ? splat(1.0F) : load_strip(a.imatrix + span.offset % a.groups.in + j, n - j));
  }
  if (a.imatrix != nullptr && a.repair) repair_importance<kDtype>(w, importance, n, a.groups.group, a.bits);
  return n;
}

template <Dtype kDtype, typename W>
void search_typed(const SearchArgs& a, const W* weight, int64_t begin, int64_t end) {
  const SearchGrid grid = search_grid(a.bits);
  const int64_t padded = (a.groups.group + kWidth - 1) / kWidth * kWidth;
  float *const w = a.scratch, *const importance = a.scratch + padded;
  const float nmax = -grid.start;
  for (int64_t i = begin; i < end; ++i) {
    const int64_t n = load_group<kDtype>(a, weight, i, w, importance);
    float peak = w[0];
    for (int64_t j = 1; j < n; ++j)
      if ((w[j] < 0 ? -w[j] : w[j]) > (peak < 0 ? -peak : peak)) peak = w[j];

    const float inverse_peak = reciprocal<kDtype>(peak);
    float inverse = round_to(kDtype, grid.start * inverse_peak);
    float best = reciprocal<kDtype>(inverse);
    float best_loss = loss_of<kDtype>(w, importance, n, inverse, best, nmax);
    for (int c = 0; c < grid.count; ++c) {
      const float candidate = round_to(kDtype, grid.factor[c] * inverse_peak);
      if (candidate == inverse) continue;  // rounds to the one before: the same loss, never strictly better
      inverse = candidate;
      const float scale = reciprocal<kDtype>(candidate);
      const float loss = loss_of<kDtype>(w, importance, n, candidate, scale, nmax);
      if (loss < best_loss) {
        best_loss = loss;
        best = scale;
      }
    }
    a.scale[i] = floored(best, a.floor, true);
  }
}

void search(const SearchArgs& a, int64_t begin, int64_t end) {
  if (a.weight_dtype == Dtype::f32)
    search_typed<Dtype::f32>(a, static_cast<const float*>(a.weight), begin, end);
  else if (a.weight_dtype == Dtype::bf16)
    search_typed<Dtype::bf16>(a, static_cast<const Bf16*>(a.weight), begin, end);
  else
    search_typed<Dtype::f16>(a, static_cast<const Half*>(a.weight), begin, end);
}

}  // namespace
}  // namespace arkit::int_scheme::ARKIT_ISA
