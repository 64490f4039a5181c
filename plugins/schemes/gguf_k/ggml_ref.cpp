#include "ggml_ref.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include <arkit/sdk/float16.h>

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

// Of a group, from the importance of its columns and how the row's numbers are spread.
void weigh(int n, const float* x, const float* importance, float spread, float* weights) {
  for (int i = 0; i < n; ++i) weights[i] = importance[i] * std::sqrt(spread + x[i] * x[i]);
}

// ---- blocks of 32 ----

struct Plain {
  const float* x;
  const float* importance;  // null = none
  float spread;             // of the row
  uint8_t* codes;
};

float extreme(const float* x) {
  float most = 0, magnitude = 0;
  for (int i = 0; i < 32; ++i)
    if (std::fabs(x[i]) > magnitude) {
      magnitude = std::fabs(x[i]);
      most = x[i];
    }
  return most;
}

float symmetric_block(const Plain& block, int bits) {
  const int most = 1 << (bits - 1);
  if (block.importance != nullptr) {
    std::array<float, 32> weights;
    weigh(32, block.x, block.importance, block.spread, weights.data());
    return half(search_symmetric(32, most, block.x, weights.data(), block.codes));
  }
  const float d = extreme(block.x) / static_cast<float>(-most), inverse = d != 0 ? 1 / d : 0;
  const float shift = static_cast<float>(most) + 0.5F;
  for (int i = 0; i < 32; ++i)
    block.codes[i] =
        static_cast<uint8_t>(std::min(2 * most - 1, static_cast<int>(static_cast<int8_t>(block.x[i] * inverse + shift))));
  return half(d);
}

Affine affine_block(const Plain& block, int bits) {
  const int most = (1 << bits) - 1;
  if (block.importance != nullptr) {
    std::array<float, 32> weights;
    weigh(32, block.x, block.importance, block.spread, weights.data());
    const Affine found = search_affine(32, most, block.x, weights.data(), kWithImportance, block.codes);
    return {half(found.scale), -half(-found.minimum)};
  }
  const auto [low, high] = std::minmax_element(block.x, block.x + 32);
  const float d = (*high - *low) / static_cast<float>(most), inverse = d != 0 ? 1 / d : 0;
  for (int i = 0; i < 32; ++i) {
    const float level = (block.x[i] - *low) * inverse + 0.5F;
    block.codes[i] = static_cast<uint8_t>(std::min(most, static_cast<int>(level)));
  }
  return {half(d), -half(*low)};
}

float eight_bit_block(const Plain& block) {
  const float d = std::fabs(extreme(block.x)) / 127, inverse = d != 0 ? 1 / d : 0;
  for (int i = 0; i < 32; ++i) block.codes[i] = static_cast<uint8_t>(128 + static_cast<int>(std::round(block.x[i] * inverse)));
  return half(d);
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
    weigh(32, x, importance, spread, weights);
  else
    for (int i = 0; i < 32; ++i) weights[i] = x[i] * x[i];
}

void table_codes(const float* x, float d, uint8_t* codes) {
  const float inverse = d != 0 ? 1 / d : 0;
  for (int i = 0; i < 32; ++i) codes[i] = static_cast<uint8_t>(nearest_of_table(inverse * x[i]));
}

float table_block(const Plain& block) {
  std::array<float, 32> weights;
  table_weights(block.x, block.importance, mean_square(block.x, 32, 2), weights.data());
  const float d = table_scale(block.x, weights.data());
  table_codes(block.x, d, block.codes);
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

// Scales and minima of `groups` groups of one super-block.
struct Found {
  std::array<float, 16> scales{}, minima{}, weights{};
};

// Codes of values that are not negative, and what a step of them is worth, in float16.
float code_positive(int groups, int most, const float* values, uint8_t* codes) {
  float greatest = 0;
  for (int g = 0; g < groups; ++g) greatest = std::max(greatest, values[g]);
  if (!(greatest > 0)) {
    std::fill_n(codes, groups, uint8_t{0});
    return 0;
  }
  const float inverse = static_cast<float>(most) / greatest;
  for (int g = 0; g < groups; ++g)
    codes[g] = static_cast<uint8_t>(std::min(most, nearest(inverse * values[g])));
  return half(greatest / static_cast<float>(most));
}

// What the codes of groups are once their scales are codes too.
void round_again(const float* x, BlockShape shape, const Row& to) {
  const int most = shape.minima ? (1 << shape.bits) - 1 : (1 << (shape.bits - 1)) - 1;
  const int least = shape.minima ? 0 : -most - 1;
  for (int g = 0; g < kBlock / shape.group; ++g) {
    const float scale = *to.d * static_cast<float>(to.scales[g]);
    if (scale == 0) continue;
    const float minimum = shape.minima ? *to.dmin * static_cast<float>(to.minima[g]) : 0;
    for (int i = shape.group * g; i < shape.group * (g + 1); ++i) {
      const float shifted = shape.minima ? x[i] + minimum : x[i];
      to.codes[i] = static_cast<uint8_t>(std::clamp(nearest(shifted / scale), least, most) - least);
    }
  }
}

void affine_super_block(const float* x, const float* importance, BlockShape shape, const Steps& plain, const Row& to) {
  const int n = shape.group, groups = kBlock / n, most = (1 << shape.bits) - 1, levels = (1 << shape.scale_bits) - 1;
  const float spread = importance == nullptr ? 0 : mean_square(x, kBlock, n == 16 ? 1 : 2);
  Found found;
  std::array<float, 32> weights;
  for (int g = 0; g < groups; ++g) {
    const float* of_group = x + n * g;
    const auto at = static_cast<size_t>(g);
    if (importance != nullptr) {
      weigh(n, of_group, importance + n * g, spread, weights.data());
    } else {
      float average = 0;
      if (n == 32) {
        for (int i = 0; i < n; ++i) average += of_group[i] * of_group[i];
        average = std::sqrt(average / 32);
      }
      for (int i = 0; i < n; ++i) weights[static_cast<size_t>(i)] = average + std::fabs(of_group[i]);
    }
    for (int i = 0; i < n; ++i) found.weights[at] += weights[static_cast<size_t>(i)];
    const Affine affine = search_affine(n, most, of_group, weights.data(), importance != nullptr ? kWithImportance : plain,
                                        to.codes + n * g);
    found.scales[at] = affine.scale;
    found.minima[at] = affine.minimum;
  }
  std::array<uint8_t, 16> codes;
  if (importance != nullptr) {
    *to.d = half(search_positive(groups, levels, found.scales.data(), found.weights.data(), codes.data()));
    *to.dmin = half(search_positive(groups, levels, found.minima.data(), found.weights.data(), to.minima));
  } else {
    *to.d = code_positive(groups, levels, found.scales.data(), codes.data());
    *to.dmin = code_positive(groups, levels, found.minima.data(), to.minima);
  }
  std::copy_n(codes.begin(), groups, to.scales);
  round_again(x, shape, to);
}

// 3 and 6 bits: scales have signs.
void symmetric_super_block(const float* x, const float* importance, BlockShape shape, const Row& to) {
  constexpr int kGroups = 16, kGroup = 16;
  const bool three = shape.bits == 3;
  const int most = 1 << (shape.bits - 1), levels = 1 << (shape.scale_bits - 1);
  const float spread = importance == nullptr || !three ? 0 : mean_square(x, kBlock, 2);
  Found found;
  std::array<float, kGroup> weights;
  float greatest = 0;
  for (size_t g = 0; g < kGroups; ++g) {
    const float* of_group = x + kGroup * g;
    uint8_t* codes = to.codes + kGroup * g;
    if (importance == nullptr) {
      found.scales[g] = three ? descend_symmetric(kGroup, most, of_group, codes)
                              : search_symmetric(kGroup, most, of_group, nullptr, codes);
    } else if (three) {
      weigh(kGroup, of_group, importance + kGroup * g, spread, weights.data());
      for (const float weight : weights) found.weights[g] += weight;
      found.scales[g] = search_symmetric(kGroup, most, of_group, weights.data(), codes);
    } else {
      found.scales[g] = search_symmetric(kGroup, most, of_group, importance + kGroup * g, codes);
    }
    if (std::fabs(found.scales[g]) > std::fabs(greatest)) greatest = found.scales[g];
  }
  if (three && importance != nullptr) {
    std::array<uint8_t, kGroups> codes;
    *to.d = half(search_symmetric(kGroups, levels, found.scales.data(), found.weights.data(), codes.data()));
    for (size_t g = 0; g < kGroups; ++g) to.scales[g] = static_cast<int8_t>(codes[g] - levels);
  } else if (three ? greatest == 0 : std::fabs(greatest) < kNothing) {
    *to.d = 0;
    // The bytes of such a block are zeros: with 3 bits that is the least scale code, with 6 the least code.
    std::fill_n(to.scales, kGroups, static_cast<int8_t>(three ? -levels : 0));
    if (!three) std::fill_n(to.codes, kBlock, uint8_t{0});
    return;
  } else {
    const float inverse = static_cast<float>(-levels) / greatest;
    *to.d = half(1 / inverse);
    for (size_t g = 0; g < kGroups; ++g)
      to.scales[g] = static_cast<int8_t>(std::clamp(nearest(inverse * found.scales[g]), -levels, levels - 1));
  }
  round_again(x, shape, to);
}

void block_of(BlockType type, const float* x, const float* importance, float spread, const Row& to) {
  const BlockShape shape = shape_of(type);
  const Plain plain{x, importance, spread, to.codes};
  switch (type) {
    case BlockType::q4_0:
    case BlockType::q5_0:
      *to.d = symmetric_block(plain, shape.bits);
      return;
    case BlockType::q4_1:
    case BlockType::q5_1: {
      const Affine affine = affine_block(plain, shape.bits);
      *to.d = affine.scale;
      *to.dmin = affine.minimum;
      return;
    }
    case BlockType::q8_0:
      *to.d = eight_bit_block(plain);
      return;
    case BlockType::iq4_nl:
      *to.d = table_block(plain);
      return;
    case BlockType::iq4_xs:
      return table_super_block(x, importance, to);
    case BlockType::q2_k:
      return affine_super_block(x, importance, shape, {-0.5F, 0.1F, 15, true}, to);
    case BlockType::q4_k:
      return affine_super_block(x, importance, shape, {-1.0F, 0.1F, 20, false}, to);
    case BlockType::q5_k:
      return affine_super_block(x, importance, shape, {-0.5F, 0.1F, 15, false}, to);
    case BlockType::q3_k:
    case BlockType::q6_k:
      return symmetric_super_block(x, importance, shape, to);
  }
}

}  // namespace

void quantize_ref(BlockType type, const float* x, int64_t n, const float* importance, const Row& to) {
  const BlockShape shape = shape_of(type);
  const float spread = mean_square(x, n, 1);
  const int groups = shape.block / shape.group;
  Row at = to;
  for (int64_t i = 0; i < n; i += shape.block) {
    block_of(type, x + i, importance == nullptr ? nullptr : importance + i, spread, at);
    at.codes += shape.block;
    ++at.d;
    if (shape.minima) ++at.dmin;
    if (shape.scale_bits > 0) at.scales += groups;
    if (shape.scale_bits > 0 && shape.minima) at.minima += groups;
  }
}

}  // namespace arkit::gguf_k
