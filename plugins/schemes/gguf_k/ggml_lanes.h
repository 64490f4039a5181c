#pragma once
// The searches with a group a lane, over vectors of kLanes floats as the compiler knows them. Every lane does what
// ggml_search_ref.cpp does to its group, in its order: branches become choices, and a lane that is done keeps what it has.
// Included by one unit an instruction set, which defines ARKIT_LANES and names the set.

#include "ggml_searches.h"

namespace arkit::gguf_k {
namespace {

constexpr int kLanes = ARKIT_LANES;
constexpr int kMost = 32;  // weights of a group
constexpr float kZeros = 1e-15F;

using F = float __attribute__((vector_size(4 * kLanes)));
using I = int32_t __attribute__((vector_size(4 * kLanes)));

using Bytes = uint8_t __attribute__((vector_size(kLanes)));

#define ARKIT_LANE_FN inline __attribute__((always_inline))

ARKIT_LANE_FN F to_float(I value) {
  return __builtin_convertvector(value, F);
}
ARKIT_LANE_FN F magnitude(F x) {
  return (F)((I)x & 0x7fffffff);
}
ARKIT_LANE_FN F root(F x) {
  F out;
  for (int l = 0; l < kLanes; ++l) out[l] = __builtin_sqrtf(x[l]);
  return out;
}
// To nearest, ties to even.
ARKIT_LANE_FN I nearest(F x) {
  return ((I)(x + 12582912.F) & 0x007fffff) - 0x00400000;
}
ARKIT_LANE_FN I clamped(I value, int32_t least, int32_t most) {
  value = value < least ? I{} + least : value;
  return value > most ? I{} + most : value;
}
ARKIT_LANE_FN bool any(I mask) {
  int32_t found = 0;
  for (int l = 0; l < kLanes; ++l) found |= mask[l];
  return found != 0;
}

// Lanes hold 0 .. 255.
ARKIT_LANE_FN void put_some(I levels, uint8_t* codes) {
#if defined(__SSSE3__)
  // The low bytes of each four lanes side by side: the compiler's own conversion takes them out one by one.
  using Raw = uint8_t __attribute__((vector_size(4 * kLanes)));
  Raw places;
  for (int i = 0; i < 4 * kLanes; ++i) places[i] = static_cast<uint8_t>(i / 16 * 16 + i % 4 * 4);
  const I packed = (I)__builtin_shuffle((Raw)levels, places);
  for (int lane = 0; lane < kLanes; lane += 4) {
    const int32_t four = packed[lane];
    __builtin_memcpy(codes + lane, &four, sizeof(four));
  }
#else
  const Bytes bytes = __builtin_convertvector(levels, Bytes);
  __builtin_memcpy(codes, &bytes, sizeof(bytes));
#endif
}

// kLanes groups, one a lane. Lanes behind the last group hold zeros.
struct Groups {
  F x[kMost], w[kMost];
  I codes[kMost];
};

ARKIT_LANE_FN void gather(const float* from, int64_t first, int64_t count, int32_t group, F* to) {
  for (int32_t i = 0; i < group; ++i) {
    F value = {};
    for (int64_t l = 0; l < count; ++l) value[l] = from[(first + l) * group + i];
    to[i] = value;
  }
}

ARKIT_LANE_FN void weigh(const GroupRun& run, int64_t first, int64_t count, Groups& g) {
  const int32_t n = run.group;
  F q[kMost];
  if (run.weigh == Weigh::importance || run.weigh == Weigh::spread) gather(run.importance, first, count, n, q);
  F deviation = {}, spread = {};
  if (run.weigh == Weigh::deviations) {
    for (int32_t i = 0; i < n; ++i) deviation += g.x[i] * g.x[i];
    deviation = root(deviation / static_cast<float>(n));
  }
  if (run.weigh == Weigh::spread)
    for (int64_t l = 0; l < count; ++l) spread[l] = run.spread[first + l];
  for (int32_t i = 0; i < n; ++i) switch (run.weigh) {
      case Weigh::squares:
        g.w[i] = g.x[i] * g.x[i];
        break;
      case Weigh::magnitudes:
        g.w[i] = magnitude(g.x[i]);
        break;
      case Weigh::deviations:
        g.w[i] = deviation + magnitude(g.x[i]);
        break;
      case Weigh::importance:
        g.w[i] = q[i];
        break;
      case Weigh::spread:
        g.w[i] = q[i] * root(spread + g.x[i] * g.x[i]);
        break;
    }
  if (run.sums == nullptr) return;
  F sum = {};
  for (int32_t i = 0; i < n; ++i) sum += g.w[i];
  for (int64_t l = 0; l < count; ++l) run.sums[first + l] = sum[l];
}

ARKIT_LANE_FN void put_codes(const GroupRun& run, int64_t first, int64_t count, const I* codes, int32_t add) {
  for (int64_t l = 0; l < count; ++l)
    for (int32_t i = 0; i < run.group; ++i)
      run.codes[(first + l) * run.group + i] = static_cast<uint8_t>(codes[i][l] + add);
}

// body(first group, how many, their numbers)
template <typename Body>
ARKIT_LANE_FN void each(const GroupRun& run, const Body& body) {
  Groups g;
  for (int64_t first = 0; first < run.groups; first += kLanes) {
    const int64_t count = run.groups - first < kLanes ? run.groups - first : kLanes;
    gather(run.x, first, count, run.group, g.x);
    body(first, count, g);
  }
}

// fit_line() of ggml_search_ref.h; known: where it has an answer.
struct Lines {
  F scale, low;
  I known;
};
ARKIT_LANE_FN Lines fit_lines(F w, F x, F l, F l2, F xl) {
  const F determinant = w * l2 - l * l, low = (l2 * x - l * xl) / determinant;
  const I above = low > 0;
  return {above ? xl / l2 : (w * xl - x * l) / determinant, above ? F{} : low, determinant > 0};
}

void affine(const GroupRun& run) {
  const int32_t n = run.group, most = run.most;
  const float levels = static_cast<float>(most);
  each(
      run, [&](int64_t first, int64_t count, Groups & g) __attribute__((always_inline)) {
        weigh(run, first, count, g);
        F low = g.x[0], high = g.x[0], sum_w = g.w[0], sum_x = g.w[0] * g.x[0];
        for (int32_t i = 1; i < n; ++i) {
          low = g.x[i] < low ? g.x[i] : low;
          high = high < g.x[i] ? g.x[i] : high;
          sum_w += g.w[i];
          sum_x += g.w[i] * g.x[i];
        }
        low = low > 0 ? F{} : low;
        const I flat = high <= low;
        const F flat_low = low;
        const auto error_of = [&](F e) __attribute__((always_inline)) {
          return run.steps.by_magnitude ? magnitude(e) : e * e;
        };
        F inverse = levels / (high - low), scale = 1.0F / inverse, best = {};
        for (int32_t i = 0; i < n; ++i) {
          g.codes[i] = clamped(nearest(inverse * (g.x[i] - low)), 0, most);
          best += g.w[i] * error_of(scale * to_float(g.codes[i]) + low - g.x[i]);
        }
        I trial[kMost];
        for (int32_t step = 0; step <= run.steps.count; ++step) {
          inverse = (run.steps.first + run.steps.step * static_cast<float>(step) + levels) / (high - low);
          F sum_l = {}, sum_l2 = {}, sum_xl = {};
          for (int32_t i = 0; i < n; ++i) {
            trial[i] = clamped(nearest(inverse * (g.x[i] - low)), 0, most);
            const F l = to_float(trial[i]);
            sum_l += g.w[i] * l;
            sum_l2 += g.w[i] * l * l;
            sum_xl += g.w[i] * l * g.x[i];
          }
          const auto [new_scale, new_low, known] = fit_lines(sum_w, sum_x, sum_l, sum_l2, sum_xl);
          F error = {};
          for (int32_t i = 0; i < n; ++i) error += g.w[i] * error_of(new_scale * to_float(trial[i]) + new_low - g.x[i]);
          const I better = known & (error < best);
          if (!any(better)) continue;
          for (int32_t i = 0; i < n; ++i) g.codes[i] = better ? trial[i] : g.codes[i];
          best = better ? error : best;
          scale = better ? new_scale : scale;
          low = better ? new_low : low;
        }
        for (int32_t i = 0; i < n; ++i) g.codes[i] = flat ? I{} : g.codes[i];
        scale = flat ? F{} : scale;
        low = flat ? flat_low : low;
        for (int64_t l = 0; l < count; ++l) {
          run.scales[first + l] = scale[l];
          run.minima[first + l] = -low[l];
        }
        put_codes(run, first, count, g.codes, 0);
      });
}

// The value of largest magnitude, the first of equal ones, with its sign.
ARKIT_LANE_FN F extreme(const F* x, int32_t n) {
  F most = {}, size = {};
  for (int32_t i = 0; i < n; ++i) {
    const F mine = magnitude(x[i]);
    const I larger = mine > size;
    size = larger ? mine : size;
    most = larger ? x[i] : most;
  }
  return most;
}

void symmetric(const GroupRun& run) {
  const int32_t n = run.group, most = run.most;
  const float levels = static_cast<float>(most);
  each(
      run, [&](int64_t first, int64_t count, Groups & g) __attribute__((always_inline)) {
        weigh(run, first, count, g);
        const F greatest = extreme(g.x, n);
        const I nothing = magnitude(greatest) < kZeros;
        F xl, ll;
        const auto sums = [&](F inverse) __attribute__((always_inline)) {
          xl = ll = F{};
          for (int32_t i = 0; i < n; ++i) {
            const F l = to_float(clamped(nearest(inverse * g.x[i]), -most, most - 1));
            xl += g.w[i] * g.x[i] * l;
            ll += g.w[i] * l * l;
          }
        };
        F chosen = -levels / greatest;
        sums(chosen);
        F scale = ll != 0 ? xl / ll : F{};
        F best = scale * xl;
        for (int32_t step = -9; step <= 9; ++step) {
          if (step == 0) continue;
          const F inverse = -(levels + 0.1F * static_cast<float>(step)) / greatest;
          sums(inverse);
          const I better = (ll > 0) & (xl * xl > best * ll);
          chosen = better ? inverse : chosen;
          scale = better ? xl / ll : scale;
          best = better ? scale * xl : best;
        }
        for (int32_t i = 0; i < n; ++i) {
          const I level = clamped(nearest(chosen * g.x[i]), -most, most - 1) + most;
          g.codes[i] = nothing ? I{} : level;
        }
        scale = nothing ? F{} : scale;
        for (int64_t l = 0; l < count; ++l) run.scales[first + l] = scale[l];
        put_codes(run, first, count, g.codes, 0);
      });
}

void descend(const GroupRun& run) {
  const int32_t n = run.group, most = run.most;
  each(
      run, [&](int64_t first, int64_t count, Groups & g) __attribute__((always_inline)) {
        const F greatest = extreme(g.x, n);
        const I nothing = magnitude(greatest) < kZeros;
        const F inverse = -static_cast<float>(most) / greatest;
        F xl = {}, ll = {};
        for (int32_t i = 0; i < n; ++i) {
          g.w[i] = g.x[i] * g.x[i];
          g.codes[i] = clamped(nearest(inverse * g.x[i]), -most, most - 1);
          const F l = to_float(g.codes[i]);
          xl += g.w[i] * g.x[i] * l;
          ll += g.w[i] * l * l;
        }
        for (int pass = 0; pass < 5; ++pass) {
          I changed = {};
          for (int32_t i = 0; i < n; ++i) {
            const F l = to_float(g.codes[i]);
            F new_xl = xl - g.w[i] * g.x[i] * l;
            const I counts = new_xl > 0;
            F new_ll = ll - g.w[i] * l * l;
            const I better = clamped(nearest(g.x[i] * new_ll / new_xl), -most, most - 1);
            const F b = to_float(better);
            new_xl += g.w[i] * g.x[i] * b;
            new_ll += g.w[i] * b * b;
            const I taken = counts & (better != g.codes[i]) & (new_ll > 0) & (new_xl * new_xl * ll > xl * xl * new_ll);
            g.codes[i] = taken ? better : g.codes[i];
            xl = taken ? new_xl : xl;
            ll = taken ? new_ll : ll;
            changed |= taken;
          }
          if (!any(changed)) break;
        }
        for (int32_t i = 0; i < n; ++i) g.codes[i] = nothing ? I{} : g.codes[i] + most;
        F scale = ll > 0 ? xl / ll : F{};
        scale = nothing ? F{} : scale;
        for (int64_t l = 0; l < count; ++l) run.scales[first + l] = scale[l];
        put_codes(run, first, count, g.codes, 0);
      });
}

// Neighbours of one group side by side.
void again(const AgainRun& run) {
  for (int64_t g = 0; g < run.groups; ++g) {
    const float scale = run.scales[g], minimum = run.minima == nullptr ? 0.0F : run.minima[g];
    if (scale == 0) continue;
    const float* x = run.x + g * run.group;
    uint8_t* codes = run.codes + g * run.group;
    for (int32_t i = 0; i < run.group; i += kLanes) {
      F value;
      __builtin_memcpy(&value, x + i, sizeof(value));
      if (run.minima != nullptr) value += minimum;
      const I code = clamped(nearest(value / scale), run.least, run.most) - run.least;
      put_some(code, codes + i);
    }
  }
}

// ---- blocks of 32: neighbours side by side ----

constexpr int kParts = 32 / kLanes;

ARKIT_LANE_FN void load(const float* from, F* to) {
  // A vector at a time: a copy of all goes through narrower stores, which the wide loads behind them wait for.
  for (int p = 0; p < kParts; ++p) __builtin_memcpy(to + p, from + p * kLanes, sizeof(F));
}

ARKIT_LANE_FN float largest(F x) {
  float lanes[kLanes];
  __builtin_memcpy(lanes, &x, sizeof(x));
  for (int half = kLanes / 2; half > 0; half /= 2)
    for (int l = 0; l < half; ++l) lanes[l] = lanes[l + half] > lanes[l] ? lanes[l + half] : lanes[l];
  return lanes[0];
}

ARKIT_LANE_FN float largest_magnitude(const F* x) {
  F most = magnitude(x[0]);
  for (int p = 1; p < kParts; ++p) {
    const F mine = magnitude(x[p]);
    most = mine > most ? mine : most;
  }
  return largest(most);
}

struct Extremes {
  float low, high;
};
ARKIT_LANE_FN Extremes extremes_of(const F* x) {
  F low = x[0], high = x[0];
  for (int p = 1; p < kParts; ++p) {
    low = x[p] < low ? x[p] : low;
    high = x[p] > high ? x[p] : high;
  }
  return {-largest(-low), largest(high)};
}

ARKIT_LANE_FN void put_bytes(const I* levels, uint8_t* codes) {
  for (int p = 0; p < kParts; ++p) put_some(levels[p], codes + p * kLanes);
}

void plain_symmetric(const PlainRun& run) {
  const int32_t most = 1 << (run.bits - 1);
  const float shift = static_cast<float>(most) + 0.5F;
  for (int64_t b = 0; b < run.blocks; ++b) {
    const float* from = run.x + 32 * b;
    F x[kParts];
    load(from, x);
    const auto [low, high] = extremes_of(x);
    float greatest = high > -low ? high : low;
    for (int i = 0; high == -low && i < 32; ++i)
      if (from[i] == high || from[i] == low) {  // the first of equal ones
        greatest = high > 0 ? from[i] : 0;
        break;
      }
    const float d = greatest / static_cast<float>(-most), inverse = d != 0 ? 1 / d : 0;
    run.scales[b] = d;
    I levels[kParts];
    for (int p = 0; p < kParts; ++p) {
      levels[p] = __builtin_convertvector(x[p] * inverse + shift, I);
      levels[p] = levels[p] > 2 * most - 1 ? I{} + (2 * most - 1) : levels[p];
    }
    put_bytes(levels, run.codes + 32 * b);
  }
}

void plain_affine(const PlainRun& run) {
  const int32_t most = (1 << run.bits) - 1;
  for (int64_t b = 0; b < run.blocks; ++b) {
    const float* from = run.x + 32 * b;
    F x[kParts];
    load(from, x);
    auto [low, high] = extremes_of(x);
    for (int i = 0; low == 0 && i < 32; ++i)
      if (from[i] == 0) {  // whose sign is kept: the first one's
        low = from[i];
        break;
      }
    const float d = (high - low) / static_cast<float>(most), inverse = d != 0 ? 1 / d : 0;
    run.scales[b] = d;
    run.minima[b] = -low;
    I levels[kParts];
    for (int p = 0; p < kParts; ++p) {
      levels[p] = __builtin_convertvector((x[p] - low) * inverse + 0.5F, I);
      levels[p] = levels[p] > most ? I{} + most : levels[p];
    }
    put_bytes(levels, run.codes + 32 * b);
  }
}

void plain_bytes(const PlainRun& run) {
  for (int64_t b = 0; b < run.blocks; ++b) {
    F x[kParts];
    load(run.x + 32 * b, x);
    const float d = largest_magnitude(x) / 127, inverse = d != 0 ? 1 / d : 0;
    run.scales[b] = d;
    I levels[kParts];
    for (int p = 0; p < kParts; ++p) {
      const F value = x[p] * inverse;
      const I whole = __builtin_convertvector(value, I);
      const F rest = value - to_float(whole);  // exact; halves go away from zero
      levels[p] = whole - (rest >= 0.5F) + (rest <= -0.5F) + 128;
    }
    put_bytes(levels, run.codes + 32 * b);
  }
}

}  // namespace
}  // namespace arkit::gguf_k
