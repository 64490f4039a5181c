#include "auto_round_search_ref.h"

#include <algorithm>
#include <array>

#include "ggml_search_ref.h"

namespace arkit::gguf_k {
namespace {

using Weights = std::array<float, kMostOfGroup>;

float squared(float x) {
  return x * x;
}

float level_of(float value, float most) {
  value = value > 0 ? value : 0;
  return static_cast<float>(nearest(value < most ? value : most));
}

float signed_level(float value, int most) {
  return static_cast<float>(std::clamp(nearest(value), -most, most - 1));
}

Weights weights_of(const GroupRun& run, int64_t group) {
  const float* x = run.x + group * run.group;
  Weights weights{};
  float deviation = 0;
  if (run.weigh == Weigh::deviations)
    deviation = std::sqrt(sum_of_eight(run.group, [&](int i) { return squared(x[i]); }) / 32);
  for (int i = 0; i < run.group; ++i) {
    float& weight = weights[static_cast<size_t>(i)];
    if (run.weigh == Weigh::importance)
      weight = run.importance[group * run.group + i];
    else
      weight = run.weigh == Weigh::squares ? squared(x[i]) : deviation + std::fabs(x[i]);
  }
  if (run.sums != nullptr)
    run.sums[group] = sum_of_eight(run.group, [&](int i) { return weights[static_cast<size_t>(i)]; });
  return weights;
}

Affine rounded_search(const GroupRun& run, const float* x, const Weights& weights) {
  const int n = run.group;
  const auto most = static_cast<float>(run.most);
  const auto w = [&](int i) { return weights[static_cast<size_t>(i)]; };
  float low = std::min(0.0F, *std::min_element(x, x + n));
  const float high = *std::max_element(x, x + n);
  const float sum_w = sum_of_eight(n, w), sum_x = sum_of_eight(n, [&](int i) { return w(i) * x[i]; });
  const auto error_of = [&](float scale, float minimum) {
    const float inverse = reciprocal(scale);
    return sum_of_eight(n, [&](int i) {
      const float difference = scale * level_of((x[i] - minimum) * inverse, most) + minimum - x[i];
      return w(i) * (run.steps.by_magnitude ? std::fabs(difference) : squared(difference));
    });
  };
  float scale = (high - low) / most, best = error_of(scale, low);
  for (int step = 0; step < run.steps.count; ++step) {
    const float inverse = reciprocal((high - low) / run.trials[step]);
    const auto l = [&](int i) { return level_of((x[i] - low) * inverse, most); };
    const float sum_l = sum_of_eight(n, [&](int i) { return w(i) * l(i); });
    const float sum_l2 = sum_of_eight(n, [&](int i) { return w(i) * l(i) * l(i); });
    const float sum_xl = sum_of_eight(n, [&](int i) { return w(i) * l(i) * x[i]; });
    const auto line = fit_line({.w = sum_w, .x = sum_x, .l = sum_l, .l2 = sum_l2, .xl = sum_xl});
    if (!line) continue;
    const auto [new_scale, new_low] = *line;
    if (const float error = error_of(new_scale, new_low); error < best) {
      best = error;
      scale = new_scale;
      low = new_low;
    }
  }
  return {scale, -low};
}

struct EightSums {
  float xl, ll;
};
template <typename Level>
EightSums eight_sums(int n, const float* x, const Weights& weights, const Level& level) {
  const auto w = [&](int i) { return weights[static_cast<size_t>(i)]; };
  return {sum_of_eight(n, [&](int i) { return w(i) * x[i] * level(i); }),
          sum_of_eight(n, [&](int i) { return w(i) * level(i) * level(i); })};
}

}  // namespace

void reround_ref(const GroupRun& run) {
  for (int64_t g = 0; g < run.groups; ++g) {
    const Affine found = rounded_search(run, run.x + g * run.group, weights_of(run, g));
    run.scales[g] = found.scale;
    run.minima[g] = found.minimum;
  }
}

void products_ref(const GroupRun& run) {
  for (int64_t g = 0; g < run.groups; ++g) {
    const float *x = run.x + g * run.group, greatest = extreme(run.group, x), most = static_cast<float>(run.most);
    const Weights weights = weights_of(run, g);
    run.scales[g] = 0;
    if (std::fabs(greatest) < kNothing) continue;
    const auto sums = [&](float inverse) {
      return eight_sums(run.group, x, weights, [&](int i) { return signed_level(inverse * x[i], run.most); });
    };
    EightSums of = sums(-most * reciprocal(greatest));
    float scale = of.xl * reciprocal(of.ll), best = scale * of.xl;
    for (int step = -9; step <= 9; ++step) {
      if (step == 0) continue;
      of = sums(-static_cast<float>(run.most - 0.1 * step) / greatest);
      if (!(of.ll > 0 && of.xl * of.xl > best * of.ll)) continue;
      scale = of.xl / of.ll;
      best = scale * of.xl;
    }
    run.scales[g] = scale;
  }
}

void descend_eight_ref(const GroupRun& run) {
  constexpr int kPasses = 5;
  for (int64_t g = 0; g < run.groups; ++g) {
    const float *x = run.x + g * run.group, greatest = extreme(run.group, x);
    const Weights weights = weights_of(run, g);
    run.scales[g] = 0;
    if (std::fabs(greatest) < kNothing) continue;
    const float inverse = -static_cast<float>(run.most) * reciprocal(greatest);
    std::array<float, kMostOfGroup> levels{};
    for (int i = 0; i < run.group; ++i) levels[static_cast<size_t>(i)] = signed_level(inverse * x[i], run.most);
    EightSums of = eight_sums(run.group, x, weights, [&](int i) { return levels[static_cast<size_t>(i)]; });
    for (int pass = 0; pass < kPasses; ++pass)
      for (int i = 0; i < run.group; ++i) {
        float &l = levels[static_cast<size_t>(i)], w = weights[static_cast<size_t>(i)];
        float xl = of.xl - w * x[i] * l, ll = of.ll - w * l * l;
        if (!(xl > 0)) continue;
        const float better = signed_level(x[i] * ll / xl, run.most);
        if (better == l) continue;
        xl += w * x[i] * better;
        ll += w * better * better;
        if (!(ll > 0 && xl * xl * of.ll > of.xl * of.xl * ll)) continue;
        l = better;
        of = {xl, ll};
      }
    run.scales[g] = of.xl * reciprocal(of.ll);
  }
}

void candidates_ref(const CandidateRun& run) {
  const auto most = static_cast<float>(run.most);
  for (int64_t b = 0; b < run.blocks; ++b) {
    const float *x = run.x + 32 * b, greatest = extreme(32, x);
    run.scales[b] = greatest / -most;
    if (run.importance == nullptr) continue;
    const float* weights = run.importance + 32 * b;
    const auto error_of = [&](float inverse) {
      const float scale = reciprocal(inverse);
      return sum_of_eight(
          32, [&](int i) { return weights[i] * squared(signed_level(inverse * x[i], run.most) * scale - x[i]); });
    };
    const float back = reciprocal(greatest), step = most * 0.75F / kCandidates;
    float best = error_of(-most * back);
    run.scales[b] = reciprocal(-most * back);
    for (int k = -kCandidates; k <= kCandidates; ++k) {
      if (k == 0) continue;
      const float inverse = -(most - step * static_cast<float>(k)) * back, error = error_of(inverse);
      if (error < best) {
        best = error;
        run.scales[b] = reciprocal(inverse);
      }
    }
  }
}

}  // namespace arkit::gguf_k
