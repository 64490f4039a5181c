#pragma once
// Layers of random numbers, what they compute in double, and kernels run by the emulator.

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <arkit/sdk/cuda/tile_weight.h>

namespace arkit::cuda::tests {

struct LayerCase {
  int bits = 4;
  int64_t group = 128, rows = 1, inputs = 128, outputs = 64;
  bool half = true;  // float16, else bfloat16
  bool zeros = false, act_order = false, bias = false;
  Numbers numbers = Numbers::integers;
  RowType x_type = RowType::float16;
  int parts = 1;  // split-K
  uint64_t seed = 0;

  [[nodiscard]] std::string name() const {
    return std::to_string(bits) + " bits, group " + std::to_string(group) + ", " + std::to_string(rows) + " x " +
           std::to_string(inputs) + " x " + std::to_string(outputs) + (zeros ? ", zeros" : "") +
           (act_order ? ", act order" : "") + (bias ? ", bias" : "") + ", numbers " +
           std::to_string(static_cast<int>(numbers)) + ", x " + std::to_string(static_cast<int>(x_type)) + ", " +
           std::to_string(parts) + " parts, order " + std::to_string(seed);
  }
};

inline float value_of(Numbers numbers, unsigned code, int bits) {
  if (numbers == Numbers::integers) return static_cast<float>(code) - static_cast<float>(1 << (bits - 1));
  const int mantissa = numbers == Numbers::e4m3 ? 3 : (numbers == Numbers::e5m2 ? 2 : 1);
  const int bias = numbers == Numbers::e4m3 ? 7 : (numbers == Numbers::e5m2 ? 15 : 1);
  const auto sign = static_cast<int>(code >> (bits - 1)), m = static_cast<int>(code & ((1U << mantissa) - 1));
  const auto e = static_cast<int>(code >> mantissa & ((1U << (bits - 1 - mantissa)) - 1));
  const float size = e == 0 ? std::ldexp(static_cast<float>(m), 1 - bias - mantissa)
                            : std::ldexp(static_cast<float>(m + (1 << mantissa)), e - bias - mantissa);
  return sign != 0 ? -size : size;
}

struct RandomLayer {
  LayerNumbers numbers;
  std::vector<float> x;              // [rows, inputs], in the values that x_type has
  std::vector<double> y, magnitude;  // [rows, outputs]: the product, and the sum of |x w|

  explicit RandomLayer(const LayerCase& c) {
    std::mt19937 random(static_cast<unsigned>(c.bits * 131 + c.inputs * 7 + c.outputs + c.rows));
    std::normal_distribution<float> normal;
    numbers.numbers = c.numbers;
    numbers.bits = c.bits;
    numbers.outputs = c.outputs;
    numbers.inputs = c.inputs;
    numbers.group = c.group > 0 ? std::min(c.group, c.inputs) : c.inputs;
    numbers.groups = (c.inputs + numbers.group - 1) / numbers.group;
    for (int64_t i = 0; i < c.outputs * c.inputs; ++i) {
      auto code = static_cast<unsigned>(random()) & ((1U << c.bits) - 1);
      if (c.numbers == Numbers::e4m3 && (code & 0x7FU) == 0x7FU) code = 1;
      if (c.numbers == Numbers::e5m2 && (code & 0x7CU) == 0x7CU) code = 2;
      numbers.codes.push_back(static_cast<uint8_t>(code));
    }
    for (int64_t i = 0; i < c.outputs * numbers.groups; ++i) {
      const float factor = 0.001F + std::abs(normal(random)) * 0.01F;
      numbers.factors.push_back(c.bits % 2 == 0 ? sdk::round_to_float16(factor) : factor);
      if (c.zeros)
        numbers.zeros.push_back(static_cast<float>(static_cast<int>(random() % 7) - 3) + (i % 5 == 0 ? 0.25F : 0));
    }
    if (c.act_order) {
      for (int64_t i = 0; i < c.inputs; ++i) numbers.group_of.push_back(static_cast<int32_t>(i / numbers.group));
      std::shuffle(numbers.group_of.begin(), numbers.group_of.end(), random);
    }
    if (c.bias)
      for (int64_t i = 0; i < c.outputs; ++i) numbers.bias.push_back(normal(random));
    for (int64_t i = 0; i < c.rows * c.inputs; ++i) {
      const float value = normal(random);
      x.push_back(c.x_type == RowType::float32
                      ? value
                      : (c.x_type == RowType::float16 ? sdk::round_to_float16(value) : sdk::round_to_bfloat16(value)));
    }
    multiply(c);
  }

 private:
  void multiply(const LayerCase& c) {
    for (int64_t row = 0; row < c.rows; ++row)
      for (int64_t n = 0; n < c.outputs; ++n) {
        double sum = numbers.bias.empty() ? 0 : double{numbers.bias[static_cast<size_t>(n)]}, size = std::abs(sum);
        for (int64_t k = 0; k < c.inputs; ++k) {
          const int64_t g = numbers.group_of.empty() ? k / numbers.group : numbers.group_of[static_cast<size_t>(k)];
          const auto at = static_cast<size_t>(n * numbers.groups + g);
          double w = value_of(c.numbers, numbers.codes[static_cast<size_t>(n * c.inputs + k)], c.bits);
          if (!numbers.zeros.empty()) w -= double{numbers.zeros[at]};
          const double product = w * double{numbers.factors[at]} * double{x[static_cast<size_t>(row * c.inputs + k)]};
          sum += product;
          size += std::abs(product);
        }
        y.push_back(sum);
        magnitude.push_back(size);
      }
  }
};

inline std::vector<std::byte> stored(const std::vector<float>& values, RowType type) {
  std::vector<std::byte> bytes(values.size() * (type == RowType::float32 ? 4 : 2));
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t half =
        type == RowType::float16 ? sdk::float_to_float16(values[i]) : sdk::float_to_bfloat16(values[i]);
    if (type == RowType::float32)
      std::memcpy(bytes.data() + 4 * i, &values[i], 4);
    else
      std::memcpy(bytes.data() + 2 * i, &half, 2);
  }
  return bytes;
}

inline float restored(const std::vector<std::byte>& bytes, RowType type, size_t i) {
  if (type == RowType::float32) {
    float value = 0;
    std::memcpy(&value, bytes.data() + 4 * i, 4);
    return value;
  }
  uint16_t half = 0;
  std::memcpy(&half, bytes.data() + 2 * i, 2);
  return type == RowType::float16 ? sdk::float16_to_float(half) : sdk::bfloat16_to_float(half);
}

// Sums in float32, in whatever order, and one rounding to the type of y.
inline void expect_product(const LayerCase& c, const RandomLayer& layer, const std::vector<std::byte>& y,
                           RowType type) {
  const double half_step = type == RowType::float32 ? 0 : (type == RowType::float16 ? 0x1p-11 : 0x1p-8);
  double worst = 0;
  size_t where = 0;
  for (size_t i = 0; i < layer.y.size(); ++i) {
    const double got = restored(y, type, i);
    const double allowed = half_step * std::abs(layer.y[i]) * 1.001 + layer.magnitude[i] * 3e-6 + 1e-7;
    const double error = std::abs(got - layer.y[i]) / allowed;
    if (!(error <= worst)) {
      worst = error;
      where = i;
    }
  }
  EXPECT_LE(worst, 1) << c.name() << ": row " << where / static_cast<size_t>(c.outputs) << ", column "
                      << where % static_cast<size_t>(c.outputs) << " is " << restored(y, type, where) << ", expected "
                      << layer.y[where];
}

// The kernels of one family and shape.
struct TileKernels {
  const emulated::Kernel *gemm, *arrange, *add;
  int m, n;
  size_t shared;
};

// Those of one plugin by name: <weights>_<type>_<size>, and what comes before and after.
inline TileKernels tile_kernels(const std::string& weights, const std::string& plugin, const LayerCase& c, int size,
                                bool zeros) {
  const std::string type = c.half ? "_f16" : "_bf16";
  const TileShape shape = size == 0 ? kSmallTile : (size == 1 ? kMediumTile : kLargeTile);
  const char* sizes[] = {"_small", "_medium", "_large"};
  const auto find = [](const std::string& name) { return emulated::kernels().at(name); };
  return {find(weights + type + sizes[size]),
          find(plugin + "_arrange" + type),
          find(plugin + "_add"),
          shape.m(),
          shape.n(),
          static_cast<size_t>(StageBytes(c.bits, zeros, shape).block)};
}

// As a plugin runs them: x arranged where it has to be, split-K and parts of x added at the end.
inline std::vector<std::byte> run_tiles(const LayerCase& c, const RandomLayer& layer, const TileKernels& kernels) {
  const TileWeight weight(layer.numbers);
  const std::vector<std::byte> x = stored(layer.x, c.x_type);
  const bool split_x = c.x_type == RowType::float32;
  const int x_parts = split_x ? 3 : 1;
  const RowType y_type = split_x ? RowType::float32 : (c.half ? RowType::float16 : RowType::bfloat16);
  const bool arranged = split_x || !weight.order.empty() || c.inputs % 8 != 0;
  const int64_t stride = arranged ? weight.steps * 32 : c.inputs, rows = c.rows * x_parts;

  // Vectors of 16 bytes: aligned as a device's memory is.
  std::vector<Words4> rows_of_x(static_cast<size_t>(rows * stride) / 8 + 1);
  auto* x16 = reinterpret_cast<uint16_t*>(rows_of_x.data());
  if (arranged) {
    emulated::Memory memory;
    memory.add(x.data(), x.size(), emulated::Use::read);
    memory.add(weight.order.data(), weight.order.size() * 4, emulated::Use::read);
    memory.add(x16, static_cast<size_t>(rows * stride) * 2, emulated::Use::write);
    const ArrangeArgs args{
        x.data(), weight.order.empty() ? nullptr : weight.order.data(), x16, c.rows, c.inputs, stride, x_parts,
        c.x_type};
    const auto blocks = static_cast<int>((c.rows * stride + kernels.arrange->threads - 1) / kernels.arrange->threads);
    emulated::launch(*kernels.arrange, {blocks, 1, 1}, 0, &args, memory, c.seed);
  } else {
    std::memcpy(x16, x.data(), x.size());
  }

  std::vector<Words4> words((weight.words.size() + 3) / 4), factors((weight.factors.size() + 15) / 16),
      zeros((weight.zeros.size() + 3) / 4);
  std::memcpy(words.data(), weight.words.data(), weight.words.size() * 4);
  std::memcpy(factors.data(), weight.factors.data(), weight.factors.size());
  if (!zeros.empty()) std::memcpy(zeros.data(), weight.zeros.data(), weight.zeros.size() * 4);
  std::vector<std::byte> y(static_cast<size_t>(c.rows * c.outputs) * (split_x ? 4 : 2));
  const bool add = split_x || c.parts > 1;
  std::vector<Words4> partial(add ? static_cast<size_t>(c.parts * rows * weight.columns) / 4 : 0);

  emulated::Memory memory;
  memory.add(x16, static_cast<size_t>(rows * stride) * 2, emulated::Use::read);
  memory.add(words.data(), weight.words.size() * 4, emulated::Use::read);
  memory.add(factors.data(), weight.factors.size(), emulated::Use::read);
  memory.add(zeros.data(), weight.zeros.size() * 4, emulated::Use::read);
  memory.add(weight.bias.data(), weight.bias.size() * 4, emulated::Use::read);
  if (add)
    memory.add(partial.data(), partial.size() * 16, emulated::Use::write);
  else
    memory.add(y.data(), y.size(), emulated::Use::write);
  TileArgs args{};
  args.x = x16;
  args.weight = reinterpret_cast<const uint32_t*>(words.data());
  args.factors = factors.data();
  args.zeros = weight.zeros.empty() ? nullptr : reinterpret_cast<const float*>(zeros.data());
  args.bias = weight.bias.empty() || add ? nullptr : weight.bias.data();
  args.y = reinterpret_cast<uint16_t*>(y.data());
  args.partial = add ? reinterpret_cast<float*>(partial.data()) : nullptr;
  args.x_stride = stride;
  args.rows = static_cast<int32_t>(rows);
  args.n = static_cast<int32_t>(c.outputs);
  args.columns = static_cast<int32_t>(weight.columns);
  args.steps = static_cast<int32_t>(weight.steps);
  args.group_tiles = static_cast<int32_t>(weight.group_tiles);
  args.x_width = static_cast<int32_t>(stride);
  args.factor_type = weight.factor_type;
  const emulated::Place grid{static_cast<int>((weight.columns + kernels.n - 1) / kernels.n),
                             static_cast<int>((rows + kernels.m - 1) / kernels.m), c.parts};
  emulated::launch(*kernels.gemm, grid, kernels.shared, &args, memory, c.seed);
  if (!add) return y;

  emulated::Memory after;
  after.add(partial.data(), partial.size() * 16, emulated::Use::read);
  after.add(weight.bias.data(), weight.bias.size() * 4, emulated::Use::read);
  after.add(y.data(), y.size(), emulated::Use::write);
  AddArgs sum{};
  sum.partial = reinterpret_cast<const float*>(partial.data());
  sum.bias = weight.bias.empty() ? nullptr : weight.bias.data();
  sum.y = y.data();
  sum.rows = c.rows;
  sum.n = args.n;
  sum.columns = args.columns;
  sum.splits = c.parts;
  sum.parts = x_parts;
  sum.type = y_type;
  const auto blocks = static_cast<int>((c.rows * c.outputs + kernels.add->threads - 1) / kernels.add->threads);
  emulated::launch(*kernels.add, {blocks, 1, 1}, 0, &sum, after, c.seed);
  return y;
}

inline RowType y_type_of(const LayerCase& c) {
  return c.x_type == RowType::float32 ? RowType::float32 : (c.half ? RowType::float16 : RowType::bfloat16);
}

inline void check_tiles(LayerCase c, const TileKernels& kernels) {
  if (c.x_type != RowType::float32) c.x_type = c.half ? RowType::float16 : RowType::bfloat16;
  const RandomLayer layer(c);
  try {
    expect_product(c, layer, run_tiles(c, layer, kernels), y_type_of(c));
  } catch (const std::exception& error) {
    ADD_FAILURE() << c.name() << ": " << error.what();
  }
}

}  // namespace arkit::cuda::tests
