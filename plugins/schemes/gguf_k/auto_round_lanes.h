#pragma once
// What auto_round_search_ref.cpp does, a group a lane. Included behind ggml_lanes.h.

#include "ggml_lanes.h"

namespace arkit::gguf_k {
namespace {

constexpr float kReciprocalZero = 1e-30F;

ARKIT_LANE_FN F reciprocals(F x) {
  return magnitude(x) < kReciprocalZero ? F{} : 1.0F / x;
}
ARKIT_LANE_FN F levels_of(F value, float most) {
  value = value > 0 ? value : F{};
  return to_float(nearest(value < most ? value : F{} + most));
}
ARKIT_LANE_FN F signed_levels(F value, int32_t most) {
  return to_float(clamped(nearest(value), -most, most - 1));
}

// Eight partial sums, then those in order.
struct Eight {
  F parts[8] = {};
  ARKIT_LANE_FN F total() const {
    F sum = {};
    for (const F& part : parts) sum += part;
    return sum;
  }
};
template <typename Body>
ARKIT_LANE_FN void eights(int32_t n, const Body& body) {
  for (int32_t i = 0; i < n; i += 8)
    for (int32_t j = 0; j < 8; ++j) body(i + j, j);
}

ARKIT_LANE_FN void weigh_eight(const GroupRun& run, int64_t first, int64_t count, Groups& g) {
  const int32_t n = run.group;
  F deviation = {};
  if (run.weigh == Weigh::importance) gather(run.importance, first, count, n, g.w);
  if (run.weigh == Weigh::deviations) {
    Eight squares;
    eights(
        n, [&](int32_t i, int32_t j) __attribute__((always_inline)) { squares.parts[j] += g.x[i] * g.x[i]; });
    deviation = root(squares.total() / 32.0F);
  }
  if (run.weigh != Weigh::importance)
    for (int32_t i = 0; i < n; ++i)
      g.w[i] = run.weigh == Weigh::squares ? g.x[i] * g.x[i] : deviation + magnitude(g.x[i]);
  if (run.sums == nullptr) return;
  Eight sum;
  eights(
      n, [&](int32_t i, int32_t j) __attribute__((always_inline)) { sum.parts[j] += g.w[i]; });
  const F total = sum.total();
  for (int64_t l = 0; l < count; ++l) run.sums[first + l] = total[l];
}

void reround(const GroupRun& run) {
  const int32_t n = run.group;
  const float most = static_cast<float>(run.most);
  each(
      run, [&](int64_t first, int64_t count, Groups & g) __attribute__((always_inline)) {
        weigh_eight(run, first, count, g);
        F low = {}, high = g.x[0];
        Eight of_w, of_x;
        eights(
            n, [&](int32_t i, int32_t j) __attribute__((always_inline)) {
              low = g.x[i] < low ? g.x[i] : low;
              high = high < g.x[i] ? g.x[i] : high;
              of_w.parts[j] += g.w[i];
              of_x.parts[j] += g.w[i] * g.x[i];
            });
        const F sum_w = of_w.total(), sum_x = of_x.total();
        const auto error_of = [&](F scale, F minimum) __attribute__((always_inline)) {
          const F inverse = reciprocals(scale);
          Eight error;
          eights(
              n, [&](int32_t i, int32_t j) __attribute__((always_inline)) {
                const F difference = scale * levels_of((g.x[i] - minimum) * inverse, most) + minimum - g.x[i];
                error.parts[j] += g.w[i] * (run.steps.by_magnitude ? magnitude(difference) : difference * difference);
              });
          return error.total();
        };
        F scale = (high - low) / most, best = error_of(scale, low);
        for (int32_t step = 0; step < run.steps.count; ++step) {
          const F inverse = reciprocals((high - low) / run.trials[step]);
          Eight of_l, of_l2, of_xl;
          eights(
              n, [&](int32_t i, int32_t j) __attribute__((always_inline)) {
                const F l = levels_of((g.x[i] - low) * inverse, most);
                of_l.parts[j] += g.w[i] * l;
                of_l2.parts[j] += g.w[i] * l * l;
                of_xl.parts[j] += g.w[i] * l * g.x[i];
              });
          const F sum_l = of_l.total(), sum_l2 = of_l2.total(), sum_xl = of_xl.total();
          const auto [new_scale, new_low, known] = fit_lines(sum_w, sum_x, sum_l, sum_l2, sum_xl);
          const F error = error_of(new_scale, new_low);
          const I better = known & (error < best);
          best = better ? error : best;
          scale = better ? new_scale : scale;
          low = better ? new_low : low;
        }
        for (int64_t l = 0; l < count; ++l) {
          run.scales[first + l] = scale[l];
          run.minima[first + l] = -low[l];
        }
      });
}

void products(const GroupRun& run) {
  const int32_t n = run.group, most = run.most;
  const float levels = static_cast<float>(most);
  each(
      run, [&](int64_t first, int64_t count, Groups & g) __attribute__((always_inline)) {
        weigh_eight(run, first, count, g);
        const F greatest = extreme(g.x, n);
        F xl, ll;
        const auto sums = [&](F inverse) __attribute__((always_inline)) {
          Eight of_xl, of_ll;
          eights(
              n, [&](int32_t i, int32_t j) __attribute__((always_inline)) {
                const F l = signed_levels(inverse * g.x[i], most);
                of_xl.parts[j] += g.w[i] * g.x[i] * l;
                of_ll.parts[j] += g.w[i] * l * l;
              });
          xl = of_xl.total();
          ll = of_ll.total();
        };
        sums(-levels * reciprocals(greatest));
        F scale = xl * reciprocals(ll), best = scale * xl;
        for (int step = -9; step <= 9; ++step) {
          if (step == 0) continue;
          sums(-static_cast<float>(most - 0.1 * step) / greatest);
          const I better = (ll > 0) & (xl * xl > best * ll);
          scale = better ? xl / ll : scale;
          best = better ? scale * xl : best;
        }
        scale = magnitude(greatest) < kZeros ? F{} : scale;
        for (int64_t l = 0; l < count; ++l) run.scales[first + l] = scale[l];
      });
}

void descend_eight(const GroupRun& run) {
  const int32_t n = run.group, most = run.most;
  each(
      run, [&](int64_t first, int64_t count, Groups & g) __attribute__((always_inline)) {
        weigh_eight(run, first, count, g);
        const F greatest = extreme(g.x, n);
        const F inverse = -static_cast<float>(most) * reciprocals(greatest);
        F levels[kMost];
        Eight of_xl, of_ll;
        eights(
            n, [&](int32_t i, int32_t j) __attribute__((always_inline)) {
              levels[i] = signed_levels(inverse * g.x[i], most);
              of_xl.parts[j] += g.w[i] * g.x[i] * levels[i];
              of_ll.parts[j] += g.w[i] * levels[i] * levels[i];
            });
        F xl = of_xl.total(), ll = of_ll.total();
        for (int pass = 0; pass < 5; ++pass)
          for (int32_t i = 0; i < n; ++i) {
            F new_xl = xl - g.w[i] * g.x[i] * levels[i], new_ll = ll - g.w[i] * levels[i] * levels[i];
            const I counts = new_xl > 0;
            const F better = signed_levels(g.x[i] * new_ll / new_xl, most);
            new_xl += g.w[i] * g.x[i] * better;
            new_ll += g.w[i] * better * better;
            const I taken = counts & (better != levels[i]) & (new_ll > 0) & (new_xl * new_xl * ll > xl * xl * new_ll);
            levels[i] = taken ? better : levels[i];
            xl = taken ? new_xl : xl;
            ll = taken ? new_ll : ll;
          }
        const F scale = magnitude(greatest) < kZeros ? F{} : xl * reciprocals(ll);
        for (int64_t l = 0; l < count; ++l) run.scales[first + l] = scale[l];
      });
}

void candidates(const CandidateRun& run) {
  const float most = static_cast<float>(run.most);
  F x[32], w[32];
  for (int64_t first = 0; first < run.blocks; first += kLanes) {
    const int64_t count = run.blocks - first < kLanes ? run.blocks - first : kLanes;
    gather(run.x, first, count, 32, x);
    const F greatest = extreme(x, 32);
    F scale = greatest / -most;
    if (run.importance != nullptr) {
      gather(run.importance, first, count, 32, w);
      const auto error_of = [&](F inverse) __attribute__((always_inline)) {
        const F step = reciprocals(inverse);
        Eight error;
        eights(
            32, [&](int32_t i, int32_t j) __attribute__((always_inline)) {
              const F difference = signed_levels(inverse * x[i], run.most) * step - x[i];
              error.parts[j] += w[i] * (difference * difference);
            });
        return error.total();
      };
      const F back = reciprocals(greatest);
      const float step = most * 0.75F / kCandidates;
      F chosen = -most * back, best = error_of(chosen);
      for (int k = -kCandidates; k <= kCandidates; ++k) {
        if (k == 0) continue;
        const F inverse = -(most - step * static_cast<float>(k)) * back, error = error_of(inverse);
        const I better = error < best;
        best = better ? error : best;
        chosen = better ? inverse : chosen;
      }
      scale = reciprocals(chosen);
    }
    for (int64_t l = 0; l < count; ++l) run.scales[first + l] = scale[l];
  }
}

}  // namespace
}  // namespace arkit::gguf_k
