#include "ggml_search_ref.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

namespace arkit::gguf_k {
namespace {

float square(float x) {
  return x * x;
}

struct Sums {
  float xl = 0, ll = 0;
};
Sums sums_of(int n, int most, float inverse, const float* x, const float* weights) {
  Sums sums;
  for (int i = 0; i < n; ++i) {
    const auto l = static_cast<float>(std::clamp(nearest(inverse * x[i]), -most, most - 1));
    const float w = weights != nullptr ? weights[i] : square(x[i]);
    sums.xl += w * x[i] * l;
    sums.ll += w * l * l;
  }
  return sums;
}

}  // namespace

int nearest(float x) {
  const float shifted = x + 12582912.F;
  int32_t bits;
  std::memcpy(&bits, &shifted, sizeof(bits));
  return (bits & 0x007fffff) - 0x00400000;
}

float extreme(int n, const float* x) {
  float most = 0, magnitude = 0;
  for (int i = 0; i < n; ++i)
    if (const float size = std::fabs(x[i]); size > magnitude) {
      magnitude = size;
      most = x[i];
    }
  return most;
}

std::optional<Line> fit_line(const LineSums& sum) {
  const float determinant = sum.w * sum.l2 - sum.l * sum.l;
  if (!(determinant > 0)) return std::nullopt;
  const float low = (sum.l2 * sum.x - sum.l * sum.xl) / determinant;
  if (low > 0) return Line{sum.xl / sum.l2, 0};
  return Line{(sum.w * sum.xl - sum.x * sum.l) / determinant, low};
}

float search_symmetric(int n, int most, const float* x, const float* weights, uint8_t* codes) {
  const float greatest = extreme(n, x);
  if (std::fabs(greatest) < kNothing) {
    std::fill_n(codes, n, uint8_t{0});
    return 0;
  }
  const auto levels = static_cast<float>(most);
  float inverse = -levels / greatest;
  Sums sums = sums_of(n, most, inverse, x, weights);
  float scale = sums.ll != 0 ? sums.xl / sums.ll : 0;
  float best = scale * sums.xl;
  float chosen = inverse;
  for (int step = -9; step <= 9; ++step) {
    if (step == 0) continue;
    inverse = -(levels + 0.1F * static_cast<float>(step)) / greatest;
    sums = sums_of(n, most, inverse, x, weights);
    if (sums.ll > 0 && sums.xl * sums.xl > best * sums.ll) {
      chosen = inverse;
      scale = sums.xl / sums.ll;
      best = scale * sums.xl;
    }
  }
  for (int i = 0; i < n; ++i)
    codes[i] = static_cast<uint8_t>(most + std::clamp(nearest(chosen * x[i]), -most, most - 1));
  return scale;
}

float descend_symmetric(int n, int most, const float* x, uint8_t* codes) {
  const float greatest = extreme(n, x);
  if (std::fabs(greatest) < kNothing) {
    std::fill_n(codes, n, uint8_t{0});
    return 0;
  }
  constexpr int kPasses = 5;
  const float inverse = -static_cast<float>(most) / greatest;
  std::array<int, kMostOfGroup> level{};
  const auto at = [&](int i) -> int& { return level[static_cast<size_t>(i)]; };
  Sums sums;
  for (int i = 0; i < n; ++i) {
    at(i) = std::clamp(nearest(inverse * x[i]), -most, most - 1);
    const auto l = static_cast<float>(at(i));
    const float w = square(x[i]);
    sums.xl += w * x[i] * l;
    sums.ll += w * l * l;
  }
  bool changed = true;
  for (int pass = 0; pass < kPasses && changed; ++pass) {
    changed = false;
    for (int i = 0; i < n; ++i) {
      const float w = square(x[i]);
      const auto l = static_cast<float>(at(i));
      float xl = sums.xl - w * x[i] * l;
      if (!(xl > 0)) continue;
      float ll = sums.ll - w * l * l;
      const int better = std::clamp(nearest(x[i] * ll / xl), -most, most - 1);
      if (better == at(i)) continue;
      const auto b = static_cast<float>(better);
      xl += w * x[i] * b;
      ll += w * b * b;
      if (ll > 0 && xl * xl * sums.ll > sums.xl * sums.xl * ll) {
        at(i) = better;
        sums = {xl, ll};
        changed = true;
      }
    }
  }
  for (int i = 0; i < n; ++i) codes[i] = static_cast<uint8_t>(at(i) + most);
  return sums.ll > 0 ? sums.xl / sums.ll : 0;
}

Affine search_affine(int n, int most, const float* x, const float* weights, const Steps& steps, uint8_t* codes) {
  float low = x[0], high = x[0], sum_w = weights[0], sum_x = weights[0] * x[0];
  for (int i = 1; i < n; ++i) {
    low = std::min(low, x[i]);
    high = std::max(high, x[i]);
    sum_w += weights[i];
    sum_x += weights[i] * x[i];
  }
  if (low > 0) low = 0;
  if (high <= low) {
    std::fill_n(codes, n, uint8_t{0});
    return {0, -low};
  }
  const auto levels = static_cast<float>(most);
  const auto error_of = [&](float difference) {
    return steps.by_magnitude ? std::fabs(difference) : square(difference);
  };
  float inverse = levels / (high - low), scale = 1 / inverse, best = 0;
  for (int i = 0; i < n; ++i) {
    const int l = std::clamp(nearest(inverse * (x[i] - low)), 0, most);
    codes[i] = static_cast<uint8_t>(l);
    best += weights[i] * error_of(scale * static_cast<float>(l) + low - x[i]);
  }
  std::array<uint8_t, kMostOfGroup> trial;
  for (int step = 0; step <= steps.count; ++step) {
    inverse = (steps.first + steps.step * static_cast<float>(step) + levels) / (high - low);
    float sum_l = 0, sum_l2 = 0, sum_xl = 0;
    for (int i = 0; i < n; ++i) {
      const int l = std::clamp(nearest(inverse * (x[i] - low)), 0, most);
      trial[static_cast<size_t>(i)] = static_cast<uint8_t>(l);
      const auto f = static_cast<float>(l);
      sum_l += weights[i] * f;
      sum_l2 += weights[i] * f * f;
      sum_xl += weights[i] * f * x[i];
    }
    const auto line = fit_line({.w = sum_w, .x = sum_x, .l = sum_l, .l2 = sum_l2, .xl = sum_xl});
    if (!line) continue;
    const auto [new_scale, new_low] = *line;
    float error = 0;
    for (int i = 0; i < n; ++i)
      error += weights[i] * error_of(new_scale * static_cast<float>(trial[static_cast<size_t>(i)]) + new_low - x[i]);
    if (error < best) {
      std::copy_n(trial.begin(), n, codes);
      best = error;
      scale = new_scale;
      low = new_low;
    }
  }
  return {scale, -low};
}

float search_positive(int n, int most, const float* x, const float* weights, uint8_t* codes) {
  float greatest = 0;
  for (int i = 0; i < n; ++i) greatest = std::max(greatest, x[i]);
  if (greatest < kNothing) {
    std::fill_n(codes, n, uint8_t{0});
    return 0;
  }
  const auto levels = static_cast<float>(most);
  float inverse = levels / greatest, scale = 1 / inverse, best = 0;
  for (int i = 0; i < n; ++i) {
    const float difference = x[i] - scale * static_cast<float>(nearest(inverse * x[i]));
    best += weights[i] * difference * difference;
  }
  for (int step = -4; step <= 4; ++step) {
    if (step == 0) continue;
    const float trial = (0.1F * static_cast<float>(step) + levels) / greatest, trial_scale = 1 / trial;
    float error = 0;
    for (int i = 0; i < n; ++i) {
      const int l = std::min(most, nearest(trial * x[i]));
      const float difference = x[i] - trial_scale * static_cast<float>(l);
      error += weights[i] * difference * difference;
    }
    if (error < best) {
      best = error;
      inverse = trial;
    }
  }
  Sums sums;
  for (int i = 0; i < n; ++i) {
    const int l = std::min(most, nearest(inverse * x[i]));
    codes[i] = static_cast<uint8_t>(l);
    const auto f = static_cast<float>(l);
    sums.xl += weights[i] * x[i] * f;
    sums.ll += weights[i] * f * f;
  }
  constexpr int kPasses = 5;
  bool changed = true;
  for (int pass = 0; pass < kPasses && changed; ++pass) {
    changed = false;
    for (int i = 0; i < n; ++i) {
      const float w = weights[i];
      const auto l = static_cast<float>(codes[i]);
      float xl = sums.xl - w * x[i] * l, ll = sums.ll - w * l * l;
      if (!(xl > 0 && ll > 0)) continue;
      const int better = std::min(most, nearest(x[i] * ll / xl));
      if (better == codes[i]) continue;
      const auto b = static_cast<float>(better);
      xl += w * x[i] * b;
      ll += w * b * b;
      if (xl * xl * sums.ll > sums.xl * sums.xl * ll) {
        codes[i] = static_cast<uint8_t>(better);
        sums = {xl, ll};
        changed = true;
      }
    }
  }
  return sums.ll > 0 ? sums.xl / sums.ll : 0;
}

}  // namespace arkit::gguf_k
