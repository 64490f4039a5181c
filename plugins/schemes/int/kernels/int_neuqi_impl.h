// The NeUQI grid search of the fast kernels (docs/spec/rtn.md 6): the third part of int_kernels_impl.h.
//
// All arithmetic is f32. A candidate wins when its loss is strictly smaller, so the first of equals stays. What is left
// out below cannot win: it is out by more than all rounding of a sum.

#include <arkit/sdk/simd16.h>

#include "int_formula.h"

namespace arkit::int_scheme::ARKIT_ISA {
namespace {

constexpr float kSurely = 0.999F;  // a bound this much above the best loss is above it whatever the rounding

struct Found {
  float loss = __builtin_inff();
  float part = 1.0F;      // of the scale without clipping
  float zero_point = 0;   // asymmetric
  bool mirrored = false;  // symmetric: range -(nmax - 1) .. nmax
};

// One group in f32.
struct Samples {
  const float *w, *importance;
  float* r;  // scratch: round(w / s) of the scale that is tried
  int64_t n;
  int64_t least = 0, most = 0;  // where the smallest and the largest w are
};

ARKIT_ALWAYS_INLINE float squared(float x) {
  return x * x;
}

// sum importance * (s clamp(r, low, high) - w)^2.
ARKIT_ALWAYS_INLINE float clipped_loss(const Samples& x, float scale, float low, float high) {
  const Floats s = splat(scale), l = splat(low), h = splat(high);
  Floats total = splat(0.0F);
  for (int64_t j = 0; j < x.n; j += kWidth) {
    const Floats d = s * clamp(load(x.r + j), l, h) - load(x.w + j);
    total = total + (d * d) * load(x.importance + j);
  }
  return sum(total);
}

// Fills x.r and returns the loss without clipping.
ARKIT_ALWAYS_INLINE float round_all(const Samples& x, float scale) {
  const Floats s = splat(scale);
  Floats total = splat(0.0F);
  for (int64_t j = 0; j < x.n; j += kWidth) {
    const Floats w = load(x.w + j), r = round_even(w / s), d = s * r - w;
    store(x.r + j, r);
    total = total + (d * d) * load(x.importance + j);
  }
  return sum(total);
}

// What clipping element j to `limit` adds to the loss.
ARKIT_ALWAYS_INLINE float clipping_cost(const Samples& x, int64_t j, float scale, float limit) {
  return x.importance[j] * (squared(scale * limit - x.w[j]) - squared(scale * x.r[j] - x.w[j]));
}

// All zero points of one scale. Nothing at or above `limit` is of interest. True when one of them is the best so far.
ARKIT_ALWAYS_INLINE bool try_zero_points(const Samples& x, float scale, float maxq, float limit, Found& best) {
  const float whole = round_all(x, scale);
  if (whole * kSurely > limit) return false;
  const float least = x.r[x.least], most = x.r[x.most];
  bool won = false;
  for (float zp = 0; zp <= maxq; ++zp) {
    const float low = -zp, high = maxq - zp;
    float loss = whole;
    if (least < low || most > high) {
      float bound = whole;
      if (least < low) bound += clipping_cost(x, x.least, scale, low);
      if (most > high && x.most != x.least) bound += clipping_cost(x, x.most, scale, high);
      if (bound * kSurely > limit) continue;
      loss = clipped_loss(x, scale, low, high);
    }
    if (!(loss < best.loss)) continue;
    best.loss = loss;
    best.zero_point = zp;
    limit = loss < limit ? loss : limit;
    won = true;
  }
  return won;
}

// Both ranges a sign leaves open, -nmax .. nmax - 1 and its mirror image.
ARKIT_ALWAYS_INLINE bool try_signs(const Samples& x, float scale, float nmax, Found& best) {
  const Floats s = splat(scale), low = splat(-nmax), high = splat(nmax - 1), mirror_low = splat(1 - nmax),
               mirror_high = splat(nmax);
  Floats plain = splat(0.0F), mirror = plain;
  for (int64_t j = 0; j < x.n; j += kWidth) {
    const Floats w = load(x.w + j), importance = load(x.importance + j), r = round_even(w / s);
    const Floats d = s * clamp(r, low, high) - w, m = s * clamp(r, mirror_low, mirror_high) - w;
    plain = plain + (d * d) * importance;
    mirror = mirror + (m * m) * importance;
  }
  const float plain_loss = sum(plain), mirror_loss = sum(mirror);
  const bool mirrored = mirror_loss < plain_loss;
  const float loss = mirrored ? mirror_loss : plain_loss;
  if (!(loss < best.loss)) return false;
  best.loss = loss;
  best.mirrored = mirrored;
  return true;
}

// Calls attempt(scale, best) on the coarse grid, then between the neighbours of its winner.
template <typename F>
ARKIT_ALWAYS_INLINE Found two_stages(const NeuqiGrid& grid, float whole_scale, const F& attempt) {
  Found best;
  int winner = grid.coarse_count - 1;
  for (int k = 0; k < grid.coarse_count; ++k) {
    if (!attempt(whole_scale * grid.coarse[k], best)) continue;
    best.part = grid.coarse[k];
    winner = k;
  }
  const float low = grid.coarse[winner > 0 ? winner - 1 : 0];
  const float high = grid.coarse[winner + 1 < grid.coarse_count ? winner + 1 : grid.coarse_count - 1];
  for (int k = 0; k < grid.fine_count; ++k) {
    const float part = low * (1.0F - grid.fine[k]) + high * grid.fine[k];
    if (attempt(whole_scale * part, best)) best.part = part;
  }
  return best;
}

ARKIT_ALWAYS_INLINE void search_asym(const NeuqiArgs& a, const Samples& x, int64_t i) {
  const auto maxq = static_cast<float>((1 << a.bits) - 1);
  const float min = x.w[x.least] < 0 ? x.w[x.least] : 0, max = x.w[x.most] > 0 ? x.w[x.most] : 0;
  const float whole_scale = floored((max - min) / maxq, a.floor, false);
  // A candidate of the coarse grid, looked at first: most of the others are out of the race by it.
  const float start = whole_scale * a.grid.coarse[a.grid.coarse_count - 1];
  (void)round_all(x, start);
  float zp = round_even(-min / start);
  zp = zp > maxq ? maxq : zp;
  const float known = clipped_loss(x, start, -zp, maxq - zp);
  const Found best = two_stages(
      a.grid, whole_scale, [&](float scale, Found& so_far) __attribute__((always_inline)) {
        return try_zero_points(x, scale, maxq, so_far.loss < known ? so_far.loss : known, so_far);
      });
  a.scale[i] = floored(best.part * whole_scale, a.floor, false);
  a.zero_point[i] = best.zero_point;
}

ARKIT_ALWAYS_INLINE void search_sym(const NeuqiArgs& a, const Samples& x, int64_t i) {
  const auto nmax = static_cast<float>(1 << (a.bits - 1));
  const float min = -x.w[x.least], max = x.w[x.most];
  const float whole_scale = floored((min > max ? min : max) / nmax, a.floor, false);
  const Found best = two_stages(
      a.grid, whole_scale, [&](float scale, Found& so_far) __attribute__((always_inline)) {
        return try_signs(x, scale, nmax, so_far);
      });
  const float scale = best.part * whole_scale;
  a.scale[i] = floored(best.mirrored ? -scale : scale, a.floor, true);
}

template <Dtype kDtype, typename W>
void neuqi_typed(const NeuqiArgs& a, const W* weight, int64_t begin, int64_t end) {
  const int64_t padded = (a.groups.group + kWidth - 1) / kWidth * kWidth;
  float *const w = a.scratch, *const importance = w + padded, *const r = importance + padded;
  for (int64_t i = begin; i < end; ++i) {
    Samples x{w, importance, r, load_group<kDtype>(a, weight, i, w, importance)};
    for (int64_t j = 1; j < x.n; ++j) {
      if (w[j] < w[x.least]) x.least = j;
      if (w[j] > w[x.most]) x.most = j;
    }
    if (a.sym)
      search_sym(a, x, i);
    else
      search_asym(a, x, i);
  }
}

void neuqi(const NeuqiArgs& a, int64_t begin, int64_t end) {
  if (a.weight_dtype == Dtype::f32)
    neuqi_typed<Dtype::f32>(a, static_cast<const float*>(a.weight), begin, end);
  else if (a.weight_dtype == Dtype::bf16)
    neuqi_typed<Dtype::bf16>(a, static_cast<const Bf16*>(a.weight), begin, end);
  else
    neuqi_typed<Dtype::f16>(a, static_cast<const Half*>(a.weight), begin, end);
}

}  // namespace
}  // namespace arkit::int_scheme::ARKIT_ISA
