// The judge: one group after the other.
#include <algorithm>
#include <array>
#include <cmath>

#include "auto_round_search_ref.h"
#include "ggml_search_ref.h"
#include "level_search_ref.h"

namespace arkit::gguf_k {
namespace {

using GroupWeights = std::array<float, kMostOfGroup>;

void weigh(const GroupRun& run, int64_t group, GroupWeights& weights) {
  const float* x = run.x + group * run.group;
  const float* q = run.importance == nullptr ? nullptr : run.importance + group * run.group;
  float deviation = 0;
  if (run.weigh == Weigh::deviations) {
    for (int i = 0; i < run.group; ++i) deviation += x[i] * x[i];
    deviation = std::sqrt(deviation / static_cast<float>(run.group));
  }
  for (int i = 0; i < run.group; ++i) {
    float& weight = weights[static_cast<size_t>(i)];
    switch (run.weigh) {
      case Weigh::squares:
        weight = x[i] * x[i];
        break;
      case Weigh::magnitudes:
        weight = std::fabs(x[i]);
        break;
      case Weigh::deviations:
        weight = deviation + std::fabs(x[i]);
        break;
      case Weigh::importance:
        weight = q[i];
        break;
      case Weigh::spread:
        weight = q[i] * std::sqrt(run.spread[group] + x[i] * x[i]);
        break;
    }
  }
  if (run.sums == nullptr) return;
  run.sums[group] = 0;
  for (int i = 0; i < run.group; ++i) run.sums[group] += weights[static_cast<size_t>(i)];
}

void affine(const GroupRun& run) {
  GroupWeights weights;
  for (int64_t g = 0; g < run.groups; ++g) {
    weigh(run, g, weights);
    const Affine found =
        search_affine(run.group, run.most, run.x + g * run.group, weights.data(), run.steps, run.codes + g * run.group);
    run.scales[g] = found.scale;
    run.minima[g] = found.minimum;
  }
}

void symmetric(const GroupRun& run) {
  GroupWeights weights;
  for (int64_t g = 0; g < run.groups; ++g) {
    weigh(run, g, weights);
    run.scales[g] =
        search_symmetric(run.group, run.most, run.x + g * run.group, weights.data(), run.codes + g * run.group);
  }
}

void descend(const GroupRun& run) {
  for (int64_t g = 0; g < run.groups; ++g)
    run.scales[g] = descend_symmetric(run.group, run.most, run.x + g * run.group, run.codes + g * run.group);
}

void again(const AgainRun& run) {
  for (int64_t g = 0; g < run.groups; ++g) {
    const float scale = run.scales[g];
    if (scale == 0) continue;
    for (int64_t i = g * run.group; i < (g + 1) * run.group; ++i) {
      const float shifted = run.minima != nullptr ? run.x[i] + run.minima[g] : run.x[i];
      run.codes[i] = static_cast<uint8_t>(std::clamp(nearest(shifted / scale), run.least, run.most) - run.least);
    }
  }
}

float inverse_of(float d) {
  return d != 0 ? 1 / d : 0;
}

void plain_symmetric(const PlainRun& run) {
  const int most = 1 << (run.bits - 1);
  const float shift = static_cast<float>(most) + 0.5F;
  for (int64_t b = 0; b < run.blocks; ++b) {
    const float* x = run.x + 32 * b;
    run.scales[b] = extreme(32, x) / static_cast<float>(-most);
    const float inverse = inverse_of(run.scales[b]);
    for (int i = 0; i < 32; ++i)
      run.codes[32 * b + i] = static_cast<uint8_t>(std::min(2 * most - 1, static_cast<int>(x[i] * inverse + shift)));
  }
}

void plain_affine(const PlainRun& run) {
  const int most = (1 << run.bits) - 1;
  for (int64_t b = 0; b < run.blocks; ++b) {
    const float* x = run.x + 32 * b;
    const float low = *std::min_element(x, x + 32), high = *std::max_element(x, x + 32);
    run.scales[b] = (high - low) / static_cast<float>(most);
    run.minima[b] = -low;
    const float inverse = inverse_of(run.scales[b]);
    for (int i = 0; i < 32; ++i)
      run.codes[32 * b + i] = static_cast<uint8_t>(std::min(most, static_cast<int>((x[i] - low) * inverse + 0.5F)));
  }
}

void plain_bytes(const PlainRun& run) {
  for (int64_t b = 0; b < run.blocks; ++b) {
    const float* x = run.x + 32 * b;
    run.scales[b] = std::fabs(extreme(32, x)) / 127;
    const float inverse = inverse_of(run.scales[b]);
    for (int i = 0; i < 32; ++i)
      run.codes[32 * b + i] = static_cast<uint8_t>(128 + static_cast<int>(std::round(x[i] * inverse)));
  }
}

}  // namespace

const Searches searches_ref{"ref",        affine,       symmetric,         descend,       again,     plain_symmetric,
                            plain_affine, plain_bytes,  peaks_ref,         e2m1_ref,      trits_ref, scale_bytes_ref,
                            reround_ref,  products_ref, descend_eight_ref, candidates_ref};

}  // namespace arkit::gguf_k
