#include "auto_round_rows.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <arkit/sdk/float16.h>

#include "auto_round_search_ref.h"
#include "ggml_search_ref.h"

namespace arkit::gguf_k {
namespace {

constexpr int kMostGroups = 16;  // of a super-block

float binary16(float x) {
  return sdk::round_to_float16(x);
}

float without_tiny(float x) {
  return x != 0 && std::fabs(x) < kTiny ? 0 : x;  // zeros keep their sign
}

// Codes of scales or minima of a super-block, which become what the codes are worth; returns their step.
float code_by_maximum(int groups, int most, float* values) {
  const auto levels = static_cast<float>(most);
  float greatest = 0;
  for (int g = 0; g < groups; ++g) greatest = std::max(greatest, values[g]);
  const float d = greatest / levels, inverse = levels * reciprocal(greatest);
  for (int g = 0; g < groups; ++g)
    values[g] = static_cast<float>(std::min(most, nearest(std::max(0.0F, values[g] * inverse)))) * d;
  return d;
}

// The same by weighted error over nine steps around the maximum's, and least squares for the one found.
float code_by_error(int groups, int most, const float* weights, float* values) {
  const auto levels = static_cast<float>(most);
  const float greatest = *std::max_element(values, values + groups);
  const auto codes = [&](float inverse, float* to) {
    for (int g = 0; g < groups; ++g)
      to[g] = static_cast<float>(std::min(most, nearest(std::clamp(values[g] * inverse, 0.0F, levels))));
  };
  std::array<float, kMostGroups> code, trial;
  const auto error_of = [&](float scale, const float* of) {
    return sum_of_eight(groups, [&](int g) {
      const float difference = values[g] - scale * of[g];
      return weights[g] * difference * difference;
    });
  };
  const float first = greatest / levels;
  codes(reciprocal(first), code.data());
  float best = error_of(first, code.data());
  for (int step = -4; step <= 4; ++step) {
    if (step == 0) continue;
    const float scale = greatest / static_cast<float>(0.1 * step + most);
    codes(reciprocal(scale), trial.data());
    if (const float error = error_of(scale, trial.data()); error < best) {
      best = error;
      code = trial;
    }
  }
  const auto l = [&](int g) { return code[static_cast<size_t>(g)]; };
  const float xl = sum_of_eight(groups, [&](int g) { return weights[g] * values[g] * l(g); });
  const float ll = sum_of_eight(groups, [&](int g) { return weights[g] * l(g) * l(g); });
  const float d = ll > 0 ? xl / ll : greatest / levels;
  for (int g = 0; g < groups; ++g) values[g] = d * code[static_cast<size_t>(g)];
  return d;
}

// Scales with signs.
float code_signed(int groups, int most, float* values) {
  float greatest = 0;
  for (int g = 0; g < groups; ++g)
    if (std::fabs(values[g]) > std::fabs(greatest)) greatest = values[g];
  const float d = greatest / static_cast<float>(-most), inverse = reciprocal(d);
  for (int g = 0; g < groups; ++g)
    values[g] = static_cast<float>(std::clamp(nearest(values[g] * inverse), -most, most - 1)) * d;
  return d;
}

int code_of(float value, float d, int least, int most) {
  return std::clamp(nearest(value * reciprocal(d)), least, most);
}

uint8_t clamped_code(float value, int most) {
  return static_cast<uint8_t>(nearest(std::clamp(value > 0 ? value : 0, 0.0F, static_cast<float>(most))));
}

// One super-block whose scales and minima are found: its codes of both, and those of weights.
void put_affine(BlockShape shape, const float* x, const float* sums, float* scales, float* minima, const Row& to) {
  const int groups = shape.block / shape.group, most = (1 << shape.scale_bits) - 1, levels = (1 << shape.bits) - 1;
  const float d = sums == nullptr ? code_by_maximum(groups, most, scales) : code_by_error(groups, most, sums, scales);
  const float dmin =
      sums == nullptr ? code_by_maximum(groups, most, minima) : code_by_error(groups, most, sums, minima);
  *to.d = binary16(d);
  *to.dmin = binary16(dmin);
  for (int g = 0; g < groups; ++g) {
    const int scale_code = code_of(scales[g], d, 0, most), minimum_code = code_of(minima[g], dmin, 0, most);
    to.scales[g] = static_cast<int8_t>(scale_code);
    to.minima[g] = static_cast<uint8_t>(minimum_code);
    // Two bits are taken by the scales before float16, others once more by those that are stored.
    const bool again = shape.bits > 2;
    const float scale = scales[g], minimum = minima[g], inverse = reciprocal(scale);
    const float stored = *to.d * static_cast<float>(scale_code),
                stored_minimum = *to.dmin * static_cast<float>(minimum_code);
    const float back = stored == 0 ? 1 : reciprocal(stored);
    for (int i = g * shape.group; i < (g + 1) * shape.group; ++i) {
      to.codes[i] = clamped_code((x[i] + minimum) * inverse, levels);
      if (!again) continue;
      const float rounded = static_cast<float>(to.codes[i]) * scale - minimum;
      to.codes[i] = clamped_code((rounded + stored_minimum) * back, levels);
    }
  }
}

void put_symmetric(BlockShape shape, const float* x, float* scales, const Row& to) {
  const int groups = shape.block / shape.group, most = 1 << (shape.scale_bits - 1), zero = 1 << (shape.bits - 1);
  const float d = code_signed(groups, most, scales);
  *to.d = binary16(d);
  for (int g = 0; g < groups; ++g) {
    const int scale_code = code_of(scales[g], d, -most, most - 1);
    to.scales[g] = static_cast<int8_t>(scale_code);
    const bool again = shape.bits > 3;
    const float scale = scales[g], inverse = reciprocal(scale), stored = *to.d * static_cast<float>(scale_code);
    const float back = stored == 0 ? 1 : reciprocal(stored);
    for (int i = g * shape.group; i < (g + 1) * shape.group; ++i) {
      int code = std::clamp(nearest(x[i] * inverse), -zero, zero - 1);
      if (again) code = std::clamp(nearest(static_cast<float>(code) * scale * back), -zero, zero - 1);
      to.codes[i] = static_cast<uint8_t>(code + zero);
    }
  }
}

// The affine search tries ranges of a different length than the codes have: first, then so much more a step.
struct Trials {
  double first, step;
  int count;
};
Trials trials_of(int bits, bool weighed) {
  if (weighed) return {-0.9, 0.05, 36};
  return bits == 4 ? Trials{-1.0, 0.1, 20} : Trials{-0.5, 0.1, 15};
}

}  // namespace

// Columns that nothing came through are no columns without weight: in groups where they are few they count as the mean
// of the others, where they are many the weights themselves decide.
const float* AutoRoundRounder::repaired(const float* x, int64_t n, const float* importance) {
  if (importance == nullptr || *std::min_element(importance, importance + n) != 0) return importance;
  const BlockShape shape = shape_of(type_);
  const int many = shape.bits == 2 ? 8 : 16;
  importance_.assign(importance, importance + n);
  for (int64_t first = 0; first < n; first += shape.group) {
    float* q = importance_.data() + first;
    const auto zeros = static_cast<int>(std::count_if(q, q + shape.group, [](float value) { return value <= kTiny; }));
    const float sum = sum_of_eight(shape.group, [&](int i) { return q[i]; });
    const float squares = sum_of_eight(shape.group, [&](int i) { return x[first + i] * x[first + i]; });
    const float deviation = shape.bits <= 3 ? 0 : std::sqrt(squares / 32);
    const float mean = sum / static_cast<float>(std::max(1, shape.group - zeros));
    for (int i = 0; i < shape.group && zeros > 0; ++i) {
      if (zeros > many)
        q[i] = deviation + std::fabs(x[first + i]);
      else if (q[i] <= kTiny)
        q[i] = mean;
    }
  }
  return importance_.data();
}

void AutoRoundRounder::find_scales(const float* x, int64_t n, const float* importance, uint8_t* codes) {
  const BlockShape shape = shape_of(type_);
  const auto groups = static_cast<size_t>(n / shape.group);
  for (std::vector<float>* values : {&scales_, &minima_, &sums_}) values->resize(groups);
  const int most = shape.minima ? (1 << shape.bits) - 1 : 1 << (shape.bits - 1);
  const Trials trials = trials_of(shape.bits, importance != nullptr);
  trials_.clear();
  for (int step = 0; step < trials.count; ++step)
    trials_.push_back(static_cast<float>(trials.first + trials.step * step + most));
  GroupRun run{.x = x,
               .importance = importance,
               .spread = nullptr,
               .weigh = Weigh::importance,
               .groups = static_cast<int64_t>(groups),
               .group = shape.group,
               .most = most,
               .steps = {0, 0, trials.count, importance == nullptr && shape.bits == 2},
               .codes = codes,
               .scales = scales_.data(),
               .minima = minima_.data(),
               .sums = importance != nullptr ? sums_.data() : nullptr,
               .trials = trials_.data()};
  if (importance == nullptr && shape.minima)
    run.weigh = shape.bits == 2 ? Weigh::magnitudes : Weigh::deviations;
  else if (importance == nullptr)
    run.weigh = Weigh::squares;
  if (shape.minima)
    searches_.reround(run);
  else if (shape.bits == 3 && importance == nullptr)
    searches_.descend_eight(run);
  else
    searches_.products(run);
  for (float& scale : scales_) scale = without_tiny(scale);
  for (float& minimum : minima_) minimum = without_tiny(minimum);
}

// Blocks of 32: scales of a range of candidates where there is importance, of the extremes where there is none.
void AutoRoundRounder::round_blocks(const float* x, int64_t n, const float* importance, const Row& to) {
  const BlockShape shape = shape_of(type_);
  const int64_t blocks = n / shape.block;
  const int zero = 1 << (shape.bits - 1);
  scales_.resize(static_cast<size_t>(blocks));
  minima_.resize(static_cast<size_t>(blocks));
  if (shape.minima || (type_ == BlockType::q8_0 && importance == nullptr)) {
    const PlainRun plain{.x = x,
                         .blocks = blocks,
                         .bits = shape.bits,
                         .codes = to.codes,
                         .scales = scales_.data(),
                         .minima = minima_.data()};
    (shape.minima ? searches_.plain_affine : searches_.plain_bytes)(plain);
    for (int64_t b = 0; b < blocks; ++b) {
      to.d[b] = binary16(scales_[static_cast<size_t>(b)]);
      if (shape.minima) to.dmin[b] = -binary16(-minima_[static_cast<size_t>(b)]);
    }
    return;
  }
  searches_.candidates({.x = x, .importance = importance, .blocks = blocks, .most = zero, .scales = scales_.data()});
  for (int64_t b = 0; b < blocks; ++b) {
    const float d = scales_[static_cast<size_t>(b)];
    const double inverse = reciprocal(d);
    to.d[b] = binary16(d);
    for (int64_t i = 32 * b; i < 32 * (b + 1); ++i) {
      const double level = static_cast<double>(x[i]) * inverse;
      const double shifted = type_ == BlockType::q8_0 ? std::round(level) + zero : std::trunc(level + zero + 0.5);
      to.codes[i] = static_cast<uint8_t>(std::clamp(shifted, 0.0, 2.0 * zero - 1));
    }
  }
}

void AutoRoundRounder::round(const float* x, int64_t n, const float* importance, const Row& to) {
  const BlockShape shape = shape_of(type_);
  if (shape.scale_bits == 0) return round_blocks(x, n, importance, to);
  const int groups = shape.block / shape.group;
  importance = repaired(x, n, importance);
  find_scales(x, n, importance, to.codes);
  Row at = to;
  for (int64_t first = 0; first < n; first += shape.block) {
    float* scales = scales_.data() + first / shape.group;
    if (shape.minima)
      put_affine(shape, x + first, importance == nullptr ? nullptr : sums_.data() + first / shape.group, scales,
                 minima_.data() + first / shape.group, at);
    else
      put_symmetric(shape, x + first, scales, at);
    at.codes += shape.block;
    at.scales += groups;
    ++at.d;
    if (!shape.minima) continue;
    ++at.dmin;
    at.minima += groups;
  }
}

}  // namespace arkit::gguf_k
