#pragma once
// Random layers for the kernels of the ark backend, and what a row of them is worth in double precision.

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "kernels/kernels.h"
#include "packed_weight.h"

namespace arkit::ark::tests {

struct Shape {
  int bits = 4;
  int64_t out = 96, in = 256, group = 64;
  bool zeros = false, offsets = false, table = false;
  ScaleType scales = ScaleType::float16;
  CodeKind kind = CodeKind::integer;
};

// An 8-bit float of OCP's two kinds.
inline double float8(CodeKind kind, int code) {
  const int bits = kind == CodeKind::e4m3 ? 3 : 2, bias = kind == CodeKind::e4m3 ? 7 : 15;
  const int exponent = (code & 127) >> bits, mantissa = code & ((1 << bits) - 1);
  const double size = exponent == 0 ? std::ldexp(mantissa, 1 - bias - bits)
                                    : std::ldexp((1 << bits) + mantissa, exponent - bias - bits);
  return (code & 128) != 0 ? -size : size;
}

struct Layer {
  Shape shape;
  int64_t groups = 0;
  std::vector<uint8_t> codes, table;
  std::vector<float> scales, zeros, offsets;
  int zero = 0;

  Layer(const Shape& of, uint32_t seed) : shape(of) {
    std::mt19937 random(seed);
    const int64_t group = shape.group > 0 ? shape.group : shape.in;
    groups = (shape.in + group - 1) / group;
    codes.resize(static_cast<size_t>(shape.out * shape.in));
    for (uint8_t& code : codes) code = static_cast<uint8_t>(random() & ((1U << shape.bits) - 1));
    if (shape.kind != CodeKind::integer)
      for (uint8_t& code : codes)
        if ((code & 0x7F) >= (shape.kind == CodeKind::e4m3 ? 0x7F : 0x7C)) code = static_cast<uint8_t>(code & 0x87);
    const auto many = static_cast<size_t>(shape.out * groups);
    for (size_t i = 0; i < many; ++i) {
      const float scale = (static_cast<float>(random() % 2000) - 900.0F) * 1e-5F;
      scales.push_back(shape.scales == ScaleType::float16    ? std::ldexp(std::round(scale * 65536), -16)
                       : shape.scales == ScaleType::bfloat16 ? std::ldexp(1.0F, -static_cast<int>(random() % 60))
                                                             : scale);
      if (shape.zeros) zeros.push_back(static_cast<float>(random() % (1U << shape.bits)));
      if (shape.offsets) offsets.push_back(static_cast<float>(random() % 1000) * 1e-4F);
    }
    zero = shape.table ? 12 : 1 << (shape.bits - 1);
    if (shape.table)
      for (int i = 0; i < 16; ++i) table.push_back(static_cast<uint8_t>(random() & 255U));
  }

  [[nodiscard]] Codes view() const {
    return {.out_features = shape.out,
            .in_features = shape.in,
            .group_size = shape.group,
            .bits = shape.bits,
            .kind = shape.kind,
            .codes = codes,
            .scales = scales,
            .zeros = zeros,
            .zero = zero,
            .offsets = offsets,
            .table = table};
  }

  [[nodiscard]] double weight(int64_t n, int64_t k) const {
    const int64_t group = shape.group > 0 ? shape.group : shape.in;
    const auto at = static_cast<size_t>(n * groups + k / group);
    const uint8_t code = codes[static_cast<size_t>(n * shape.in + k)];
    if (shape.kind != CodeKind::integer) return scales[at] * float8(shape.kind, code);
    const double value = shape.table ? table[code] : code;
    return scales[at] * (value - (shape.zeros ? zeros[at] : static_cast<double>(zero))) +
           (shape.offsets ? offsets[at] : 0);
  }
};

// Rows of x as the kernels want them.
struct Rows {
  std::vector<int8_t> codes;
  std::vector<float> scales;
  std::vector<int32_t> sums;

  Rows(const Kernels& kernels, const Blocks& blocks, const std::vector<float>& x) {
    const auto depth = static_cast<size_t>(blocks.depth()), width = static_cast<size_t>(blocks.in_features);
    const size_t rows = x.size() / width;
    codes.resize(rows * depth);
    scales.resize(rows * static_cast<size_t>(blocks.blocks()));
    sums.resize(scales.size());
    std::vector<float> row(depth);
    for (size_t m = 0; m < rows; ++m) {
      blocks.spread(x.data() + m * width, row.data());
      const size_t at = m * static_cast<size_t>(blocks.blocks());
      kernels.quantize(row.data(), blocks.blocks(), blocks.block, kMostLevels, codes.data() + m * depth,
                       scales.data() + at, sums.data() + at);
    }
  }
  [[nodiscard]] Activations view() const { return {codes.data(), scales.data(), sums.data()}; }
};

// The same as they are.
struct FloatRows {
  std::vector<float> x, sums;

  FloatRows(const Blocks& blocks, const std::vector<float>& from) {
    const auto depth = static_cast<size_t>(blocks.depth()), width = static_cast<size_t>(blocks.in_features);
    x.resize(from.size() / width * depth);
    for (size_t m = 0; m < from.size() / width; ++m) blocks.spread(from.data() + m * width, x.data() + m * depth);
    for (size_t k = 0; k < x.size(); k += static_cast<size_t>(blocks.block)) {
      sums.push_back(0);
      for (size_t i = 0; i < static_cast<size_t>(blocks.block); ++i) sums.back() += x[k + i];
    }
  }
  [[nodiscard]] FloatActivations view() const { return {x.data(), sums.data()}; }
};

inline std::vector<float> random_rows(int64_t rows, int64_t width, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<size_t>(rows * width));
  for (float& value : x) value = normal(random);
  return x;
}

inline void multiply(const Kernels& kernels, const Weight& weight, int64_t panel, const Rows& rows, int64_t count,
                     float* y) {
  alignas(64) static thread_local uint8_t scratch[kMaxBlock * kPanel];
  kernels.multiply(weight, panel, rows.view(), count, y, scratch);
}
inline void multiply(const Kernels& kernels, const Weight& weight, int64_t panel, const FloatRows& rows, int64_t count,
                     float* y) {
  alignas(64) static thread_local float scratch[kMaxBlock * kPanel];
  kernels.multiply_floats(weight, panel, rows.view(), count, y, scratch);
}

template <typename SomeRows>
std::vector<float> product(const Kernels& kernels, const PackedWeight& weight, const SomeRows& rows, int64_t count) {
  const auto width = static_cast<size_t>(weight.panels() * kPanel);
  std::vector<float> y(static_cast<size_t>(count) * width), panel(static_cast<size_t>(count) * kPanel);
  for (int64_t p = 0; p < weight.panels(); ++p) {
    multiply(kernels, weight.view(), p, rows, count, panel.data());
    for (size_t m = 0; m < static_cast<size_t>(count); ++m)
      std::copy_n(panel.data() + m * kPanel, kPanel, y.data() + m * width + static_cast<size_t>(p) * kPanel);
  }
  return y;
}

}  // namespace arkit::ark::tests
