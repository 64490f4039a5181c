#include "ggml_rows.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <arkit/sdk/float16.h>
#include <arkit/sdk/gguf_scales.h>

#include "ggml_search_ref.h"

namespace arkit::gguf_k {
namespace {

constexpr int kBlock = 256;
constexpr std::array<int, 16> kIq4{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
constexpr Steps kWithImportance{-0.9F, 0.05F, 36, false};

float half(float x) {
  return sdk::round_to_float16(x);
}

float mean_square(const float* x, int64_t n, float factor) {
  float sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += x[i] * x[i];
  return factor * sum / static_cast<float>(n);
}

void weigh(const float* x, const float* importance, float spread, float* weights) {
  for (int i = 0; i < 32; ++i) weights[i] = importance[i] * std::sqrt(spread + x[i] * x[i]);
}

float extreme(const float* x) {
  float most = 0, magnitude = 0;
  for (int i = 0; i < 32; ++i)
    if (std::fabs(x[i]) > magnitude) {
      magnitude = std::fabs(x[i]);
      most = x[i];
    }
  return most;
}

// ---- the table of IQ4 ----

size_t nearest_of_table(float x) {
  if (x <= static_cast<float>(kIq4.front())) return 0;
  if (x >= static_cast<float>(kIq4.back())) return 15;
  size_t low = 0, high = 15;
  while (high - low > 1) {
    const size_t middle = (low + high) / 2;
    (x < static_cast<float>(kIq4[middle]) ? high : low) = middle;
  }
  return x - static_cast<float>(kIq4[high - 1]) < static_cast<float>(kIq4[high]) - x ? high - 1 : high;
}

// A scale, not rounded.
float table_scale(const float* x, const float* weights) {
  const float greatest = extreme(x);
  if (std::fabs(greatest) < kNothing) return 0;
  const auto sums = [&](float inverse, float& qx, float& q2) {
    qx = q2 = 0;
    for (int i = 0; i < 32; ++i) {
      const auto q = static_cast<float>(kIq4[nearest_of_table(inverse * x[i])]);
      qx += weights[i] * q * x[i];
      q2 += weights[i] * q * q;
    }
  };
  float qx, q2;
  sums(1 / (-greatest / static_cast<float>(kIq4.front())), qx, q2);
  float d = q2 > 0 ? qx / q2 : 0, best = d * qx;  // no column counts: nothing to find
  for (int step = -7; step <= 7; ++step) {
    sums((static_cast<float>(step) + static_cast<float>(kIq4.front())) / greatest, qx, q2);
    if (q2 > 0 && qx * qx > best * q2) {
      d = qx / q2;
      best = d * qx;
    }
  }
  return d;
}

void table_weights(const float* x, const float* importance, float spread, float* weights) {
  if (importance != nullptr)
    weigh(x, importance, spread, weights);
  else
    for (int i = 0; i < 32; ++i) weights[i] = x[i] * x[i];
}

void table_codes(const float* x, float d, uint8_t* codes) {
  const float inverse = d != 0 ? 1 / d : 0;
  for (int i = 0; i < 32; ++i) codes[i] = static_cast<uint8_t>(nearest_of_table(inverse * x[i]));
}

float table_block(const float* x, const float* importance, uint8_t* codes) {
  std::array<float, 32> weights;
  table_weights(x, importance, mean_square(x, 32, 2), weights.data());
  const float d = table_scale(x, weights.data());
  table_codes(x, d, codes);
  return half(d);
}

void table_super_block(const float* x, const float* importance, const Row& to) {
  const float spread = mean_square(x, kBlock, 2);
  std::array<float, 8> scales;
  float greatest = 0;
  for (size_t g = 0; g < 8; ++g) {
    std::array<float, 32> weights;
    table_weights(x + 32 * g, importance == nullptr ? nullptr : importance + 32 * g, spread, weights.data());
    scales[g] = table_scale(x + 32 * g, weights.data());
    if (std::fabs(scales[g]) > std::fabs(greatest)) greatest = scales[g];
  }
  const float d = -greatest / 32, inverse = d != 0 ? 1 / d : 0;
  *to.d = half(d);
  for (size_t g = 0; g < 8; ++g) {
    const int level = std::clamp(nearest(inverse * scales[g]), -32, 31);
    to.scales[g] = static_cast<int8_t>(level);
    table_codes(x + 32 * g, d * static_cast<float>(level), to.codes + 32 * g);
  }
}

// ---- super-blocks of 256 ----

// Codes of values that are not negative, and what a step of them is worth, in float16.
template <typename Code>
float code_positive(int groups, int most, const float* values, Code* codes) {
  float greatest = 0;
  for (int g = 0; g < groups; ++g) greatest = std::max(greatest, values[g]);
  if (!(greatest > 0)) {
    std::fill_n(codes, groups, Code{0});
    return 0;
  }
  const float inverse = static_cast<float>(most) / greatest;
  for (int g = 0; g < groups; ++g) codes[g] = static_cast<Code>(std::min(most, nearest(inverse * values[g])));
  return half(greatest / static_cast<float>(most));
}

// The scales and minima of one super-block as codes. `sums`: null = without importance.
void code_affine(const float* scales, const float* minima, const float* sums, BlockShape shape, const Row& to) {
  const int groups = kBlock / shape.group, levels = (1 << shape.scale_bits) - 1;
  if (sums == nullptr) {
    *to.d = code_positive(groups, levels, scales, to.scales);
    *to.dmin = code_positive(groups, levels, minima, to.minima);
    return;
  }
  std::array<uint8_t, 16> codes;
  *to.d = half(search_positive(groups, levels, scales, sums, codes.data()));
  std::copy_n(codes.begin(), groups, to.scales);
  *to.dmin = half(search_positive(groups, levels, minima, sums, to.minima));
}

// 3 and 6 bits: scales have signs. False: there is nothing in the block.
bool code_symmetric(const float* scales, const float* sums, BlockShape shape, const Row& to) {
  constexpr int kGroups = 16;
  const bool three = shape.bits == 3;
  const int levels = 1 << (shape.scale_bits - 1);
  if (three && sums != nullptr) {
    std::array<uint8_t, kGroups> codes;
    *to.d = half(search_symmetric(kGroups, levels, scales, sums, codes.data()));
    for (size_t g = 0; g < kGroups; ++g) to.scales[g] = static_cast<int8_t>(codes[g] - levels);
    return true;
  }
  float greatest = 0;
  for (int g = 0; g < kGroups; ++g)
    if (std::fabs(scales[g]) > std::fabs(greatest)) greatest = scales[g];
  if (three ? greatest == 0 : std::fabs(greatest) < kNothing) {
    *to.d = 0;
    // The bytes of such a block are zeros: with 3 bits that is the least scale code, with 6 the least code.
    std::fill_n(to.scales, kGroups, static_cast<int8_t>(three ? -levels : 0));
    if (!three) std::fill_n(to.codes, kBlock, uint8_t{0});
    return false;
  }
  const float inverse = static_cast<float>(-levels) / greatest;
  *to.d = half(1 / inverse);
  for (int g = 0; g < kGroups; ++g)
    to.scales[g] = static_cast<int8_t>(std::clamp(nearest(inverse * scales[g]), -levels, levels - 1));
  return true;
}

// What the affine search of a type does without importance.
Steps plain_steps(BlockType type) {
  if (type == BlockType::q2_k) return {-0.5F, 0.1F, 15, true};
  return type == BlockType::q4_k ? Steps{-1.0F, 0.1F, 20, false} : Steps{-0.5F, 0.1F, 15, false};
}

// Blocks whose codes are places in a table.
void table_row(BlockType type, const float* x, int64_t n, const float* importance, Row to) {
  const BlockShape shape = shape_of(type);
  for (int64_t i = 0; i < n; i += shape.block, to.codes += shape.block, ++to.d) {
    const float* weights = importance == nullptr ? nullptr : importance + i;
    if (type == BlockType::iq4_nl) {
      *to.d = table_block(x + i, weights, to.codes);
    } else {
      table_super_block(x + i, weights, to);
      to.scales += kBlock / 32;
    }
  }
}

bool is_scaled_by_peak(BlockType type) {
  return type == BlockType::mxfp4 || type == BlockType::nvfp4 || type == BlockType::tq1_0 || type == BlockType::tq2_0;
}

// Half the scale under which the largest magnitude has the largest exponent of E2M1.
float power_scale(float peak) {
  if (!(peak > 0)) return sdk::half_of_e8m0(0);
  const int byte = static_cast<int>(std::floor(std::log2(peak))) - 2 + 127;
  return sdk::half_of_e8m0(static_cast<uint8_t>(std::clamp(byte, 0, 254)));
}

const std::array<float, kMostScaleByte + 1>& scale_halves() {
  static const auto kHalves = [] {
    std::array<float, kMostScaleByte + 1> halves;
    for (size_t byte = 0; byte < halves.size(); ++byte) halves[byte] = sdk::half_of_ue4m3(static_cast<uint8_t>(byte));
    return halves;
  }();
  return kHalves;
}

}  // namespace

// Scales of blocks without super-blocks.
void RowRounder::put_blocks(BlockShape shape, const Row& to) const {
  for (size_t g = 0; g < scales_.size(); ++g) {
    to.d[g] = half(scales_[g]);
    if (shape.minima) to.dmin[g] = -half(-minima_[g]);
  }
}

// E2M1 and three values: scales by the largest magnitude. Importance has a say in NVFP4 alone, as in ggml.
void RowRounder::put_levels(const float* x, int64_t n, const float* importance, const Row& to) {
  const BlockShape shape = shape_of(type_);
  const int64_t groups = n / shape.group;
  searches_.peaks(x, groups, shape.group, to.d);
  const LevelRun run{.x = x, .scales = to.d, .groups = groups, .group = shape.group, .codes = to.codes};
  if (type_ == BlockType::tq1_0 || type_ == BlockType::tq2_0) {
    searches_.trits(run);
    for (int64_t g = 0; g < groups; ++g) to.d[g] = half(to.d[g]);
    return;
  }
  if (type_ == BlockType::mxfp4) {
    for (int64_t g = 0; g < groups; ++g) to.d[g] = power_scale(to.d[g]);
  } else {
    bytes_.resize(static_cast<size_t>(groups));
    std::transform(to.d, to.d + groups, bytes_.begin(), [](float peak) { return sdk::ue4m3_of(peak / 6); });
    const auto& halves = scale_halves();
    if (importance != nullptr)
      searches_.scale_bytes(
          {.x = x, .importance = importance, .groups = groups, .halves = halves.data(), .bytes = bytes_.data()});
    std::transform(bytes_.begin(), bytes_.end(), to.d, [&](int32_t byte) { return halves[static_cast<size_t>(byte)]; });
  }
  searches_.e2m1(run);
}

void RowRounder::round(const float* x, int64_t n, const float* importance, const Row& to) {
  const BlockShape shape = shape_of(type_);
  const bool super = shape.block == kBlock, searched = super || importance != nullptr;
  const int groups = shape.block / shape.group;
  Row at = to;
  const auto next = [&] {
    at.codes += shape.block;
    ++at.d;
    if (shape.minima) ++at.dmin;
    if (shape.scale_bits > 0) at.scales += groups;
    if (shape.scale_bits > 0 && shape.minima) at.minima += groups;
  };
  if (type_ == BlockType::iq4_nl || type_ == BlockType::iq4_xs) return table_row(type_, x, n, importance, to);
  if (is_scaled_by_peak(type_)) return put_levels(x, n, importance, to);
  const auto all = static_cast<size_t>(n / shape.group);
  for (std::vector<float>* values : {&scales_, &minima_, &sums_, &spread_}) values->resize(all);
  if (!searched || type_ == BlockType::q8_0) {
    const PlainRun plain{.x = x,
                         .blocks = static_cast<int64_t>(all),
                         .bits = shape.bits,
                         .codes = to.codes,
                         .scales = scales_.data(),
                         .minima = minima_.data()};
    (type_ == BlockType::q8_0 ? searches_.plain_bytes
     : shape.minima           ? searches_.plain_affine
                              : searches_.plain_symmetric)(plain);
    return put_blocks(shape, to);
  }
  GroupRun run{.x = x,
               .importance = importance,
               .spread = spread_.data(),
               .weigh = Weigh::spread,
               .groups = static_cast<int64_t>(all),
               .group = shape.group,
               .most = shape.minima ? (1 << shape.bits) - 1 : 1 << (shape.bits - 1),
               .steps = importance != nullptr ? kWithImportance : plain_steps(type_),
               .codes = to.codes,
               .scales = scales_.data(),
               .minima = minima_.data(),
               .sums = importance != nullptr ? sums_.data() : nullptr};
  if (type_ == BlockType::q6_k)
    run.weigh = importance != nullptr ? Weigh::importance : Weigh::squares;
  else if (importance == nullptr)
    run.weigh = type_ == BlockType::q2_k ? Weigh::magnitudes : Weigh::deviations;
  else if (!super)
    std::fill(spread_.begin(), spread_.end(), mean_square(x, n, 1));
  else
    for (int64_t i = 0; i < n; i += kBlock)
      std::fill_n(spread_.begin() + i / shape.group, groups,
                  mean_square(x + i, kBlock, type_ == BlockType::q2_k ? 1 : 2));
  if (shape.minima)
    searches_.affine(run);
  else if (type_ == BlockType::q3_k && importance == nullptr)
    searches_.descend(run);
  else
    searches_.symmetric(run);

  if (!super) return put_blocks(shape, to);
  const int most = shape.minima ? run.most : run.most - 1;
  for (size_t first = 0; first < all; first += static_cast<size_t>(groups), next()) {
    const float* sums = run.sums == nullptr ? nullptr : run.sums + first;
    float *scales = scales_.data() + first, *minima = minima_.data() + first;
    bool filled = true;
    if (shape.minima)
      code_affine(scales, minima, sums, shape, at);
    else
      filled = code_symmetric(scales, sums, shape, at);
    for (int g = 0; g < groups; ++g) {
      scales[g] = filled ? *at.d * static_cast<float>(at.scales[g]) : 0;
      if (shape.minima) minima[g] = *at.dmin * static_cast<float>(at.minima[g]);
    }
  }
  searches_.again({.x = x,
                   .scales = scales_.data(),
                   .minima = shape.minima ? minima_.data() : nullptr,
                   .groups = run.groups,
                   .group = shape.group,
                   .least = shape.minima ? 0 : -most - 1,
                   .most = most,
                   .codes = to.codes});
}

}  // namespace arkit::gguf_k
