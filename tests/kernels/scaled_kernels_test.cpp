// The kernels of scaled number formats, in every instruction set this process runs, against their scalar twin: bit for
// bit, over tails, types, scales and numbers at the ends of float.

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <arkit/str.h>

#include "src/scaled_kernels.h"
#include "src/scaled_kernels_ref.h"

namespace arkit::sdk::scaled {
namespace {

constexpr int64_t kRows = 3;
constexpr float kInfinity = std::numeric_limits<float>::infinity();
const std::vector<ElementGrid> kGrids = {
    kE2m1, kE2m3, kE3m2, kE4m3, kE5m2, fixed_point_grid(2), fixed_point_grid(4), fixed_point_grid(8)};
const std::vector<Dtype> kDtypes = {Dtype::f32, Dtype::bf16, Dtype::f16};

// Inputs and group sizes: whole strips, tails, a group longer than its row.
struct Shape {
  int64_t in, group;
};
constexpr Shape kShapes[] = {{1, 16}, {15, 16}, {16, 16}, {17, 16}, {33, 32}, {83, 24}, {100, 7}};

// Memory of one type, filled from floats.
struct Buffer {
  Dtype dtype;
  std::vector<float> wide;
  std::vector<uint16_t> narrow;

  Buffer(Dtype type, size_t count) : dtype(type), wide(count), narrow(count) {}
  Buffer(Dtype type, const std::vector<float>& values) : Buffer(type, values.size()) {
    for (size_t i = 0; i < values.size(); ++i) ref::write(data(), dtype, static_cast<int64_t>(i), values[i]);
  }
  void* data() { return dtype == Dtype::f32 ? static_cast<void*>(wide.data()) : narrow.data(); }
  [[nodiscard]] float at(size_t i) { return ref::read(data(), dtype, static_cast<int64_t>(i)); }
};

// A matrix in groups, with everything the kernels take. Scales around what fits the values; one is 0, one denormal, one
// huge.
struct Case {
  Shape shape;
  Groups groups;
  int64_t count;
  std::vector<float> values, scale, inverse, v, importance, gradient;

  Case(Shape s, const ElementGrid& grid, uint64_t seed, bool infinities)
      : shape(s), groups{s.in, s.group, (s.in + s.group - 1) / s.group}, count(kRows * groups.per_row) {
    std::mt19937_64 random(seed);
    std::normal_distribution<float> normal;
    std::uniform_real_distribution<float> uniform(0.05F, 0.6F);
    const std::vector<float> special = {0.0F, -0.0F, 1e-40F, -1e-40F, 3e38F, infinities ? -kInfinity : -6e4F};
    for (int64_t i = 0; i < kRows * s.in; ++i)
      values.push_back(i % 7 == 3 ? special[static_cast<size_t>(i / 7) % special.size()] : normal(random));
    for (int64_t i = 0; i < kRows * s.in; ++i) gradient.push_back(normal(random));
    for (int64_t i = 0; i < count; ++i) scale.push_back(4.0F * uniform(random) / grid.max);
    if (count > 4) {
      scale[1] = 0.0F;
      scale[2] = 1e-39F;
      scale[4] = 0x1p120F;
    }
    for (const float x : scale) inverse.push_back(x == 0.0F ? 0.0F : 1.0F / x);
    for (int64_t i = 0; i < count * s.group; ++i) v.push_back(uniform(random) - 0.3F);
    for (int64_t i = 0; i < s.in; ++i) importance.push_back(uniform(random));
  }

  [[nodiscard]] Args args(const ElementGrid& grid, Buffer& x, bool divide, bool shift) const {
    Args a{.grid = grid, .groups = groups, .x = x.data(), .dtype = x.dtype, .scale = scale.data()};
    if (!divide) a.inverse = inverse.data();
    if (shift) a.v = v.data();
    return a;
  }
};

bool same(float a, float b) {
  return float_bits(a) == float_bits(b) || (std::isnan(a) && std::isnan(b));
}

void expect_same(Buffer& got, Buffer& wanted, const std::string& what) {
  for (size_t i = 0; i < wanted.wide.size(); ++i)
    ASSERT_TRUE(same(got.at(i), wanted.at(i))) << what << " " << i << ": " << got.at(i) << ", " << wanted.at(i);
}
void expect_same(const std::vector<float>& got, const std::vector<float>& wanted, const std::string& what) {
  for (size_t i = 0; i < wanted.size(); ++i)
    ASSERT_TRUE(same(got[i], wanted[i])) << what << " " << i << ": " << got[i] << ", " << wanted[i];
}

// check(kernels, grid, shape, dtype, divide, what) for all of them.
template <typename Check>
void for_all(const Check& check) {
  for (const Kernels* kernels : {&kernels_baseline, &kernels_avx2, &kernels_avx512}) {
    if (!cpu_runs(*kernels)) continue;
    for (const ElementGrid& grid : kGrids)
      for (const Shape& shape : kShapes)
        for (const Dtype dtype : kDtypes)
          for (const bool divide : {true, false}) {
            check(*kernels, grid, shape, dtype, divide,
                  str(kernels->name, ", ", grid.bits, " bits, ", grid.mantissa, " of mantissa, ", shape.in, "/",
                      shape.group, ", type ", static_cast<int>(dtype), divide ? ", divided" : ""));
            if (::testing::Test::HasFatalFailure()) return;
          }
  }
}

TEST(ScaledKernelTwins, Peaks) {
  for_all([](const Kernels& kernels, const ElementGrid& grid, Shape shape, Dtype dtype, bool finite, const auto& what) {
    Case c(shape, grid, 1, false);
    if (dtype == Dtype::f16)
      for (float& x : c.values) x = std::fmin(x, 6e4F);
    Buffer x(dtype, c.values);
    if (!finite) ref::write(x.data(), dtype, shape.in * kRows - 1, kInfinity);
    std::vector<float> got(static_cast<size_t>(c.count)), wanted(got.size());
    const bool all = ref::peaks(x.data(), dtype, c.groups, c.count, wanted.data());
    ASSERT_EQ(all, finite) << what;
    ASSERT_EQ(kernels.peaks(x.data(), dtype, c.groups, 0, c.count, got.data()), all) << what;
    expect_same(got, wanted, what);
  });
}

TEST(ScaledKernelTwins, FakeQuantization) {
  for_all([](const Kernels& kernels, const ElementGrid& grid, Shape shape, Dtype dtype, bool divide, const auto& what) {
    Case c(shape, grid, 2, true);
    Buffer x(dtype, c.values);
    for (const bool shift : {false, true})
      for (const bool narrow : {false, true}) {
        Args args = c.args(grid, x, divide, shift);
        args.narrow_quotient = narrow;
        Buffer got(dtype, c.values.size()), wanted(dtype, c.values.size());
        kernels.fake_quant(args, got.data(), dtype, 0, c.count);
        ref::fake_quant(args, wanted.data(), dtype, c.count);
        expect_same(got, wanted, what);
      }
  });
}

TEST(ScaledKernelTwins, CodesAndBack) {
  for_all([](const Kernels& kernels, const ElementGrid& grid, Shape shape, Dtype dtype, bool divide, const auto& what) {
    Case c(shape, grid, 3, divide);
    if (!divide) {  // infinity times zero has no code
      for (float& value : c.values) value = std::fmin(value, 6e4F);
      for (float& s : c.scale)
        if (s < 1e-30F && s != 0.0F) s = 0.5F;  // its reciprocal is no number
    }
    Buffer x(dtype, c.values);
    c.inverse.clear();
    for (const float s : c.scale) c.inverse.push_back(s == 0.0F ? 0.0F : 1.0F / s);
    for (const bool signed_zero : {false, true}) {
      const Args args = c.args(grid, x, divide, signed_zero);
      std::vector<uint8_t> got(c.values.size()), wanted(got.size());
      kernels.encode(args, signed_zero, got.data(), 0, c.count);
      ref::encode(args, signed_zero, wanted.data(), c.count);
      ASSERT_EQ(got, wanted) << what;
    }
    // Every byte there is, NaN included.
    std::vector<uint8_t> codes(c.values.size());
    for (size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<uint8_t>((i * 37 + 5) % (size_t{1} << grid.bits));
    Buffer got(dtype, codes.size()), wanted(dtype, codes.size());
    DecodeArgs decode{.grid = grid, .groups = c.groups, .codes = codes.data(), .scale = c.scale.data()};
    decode.out_dtype = dtype;
    decode.out = got.data();
    kernels.decode(decode, 0, c.count);
    decode.out = wanted.data();
    ref::decode(decode, c.count);
    expect_same(got, wanted, what);
  });
}

TEST(ScaledKernelTwins, Gradients) {
  for_all([](const Kernels& kernels, const ElementGrid& grid, Shape shape, Dtype dtype, bool divide, const auto& what) {
    Case c(shape, grid, 4, false);
    for (float& x : c.values) x = std::fmin(std::fmax(x, -20.0F), 20.0F);  // times slopes and scales, still finite
    for (float& s : c.scale)
      if (s != 0.0F && (s < 1e-30F || s > 1e30F)) s = 0.25F;
    c.inverse.clear();
    for (const float s : c.scale) c.inverse.push_back(s == 0.0F ? 0.0F : 1.0F / s);
    Buffer x(dtype, c.values), grad(dtype, c.gradient);
    for (const bool follow : {false, true})
      for (const bool accumulate : {false, true}) {
        Args args = c.args(grid, x, divide, true);
        args.follow_grid = follow;
        struct Result {
          std::vector<float> v, scale;
          Buffer x;
        };
        const auto fresh = [&] { return Result{c.v, std::vector<float>(c.scale.size(), 9.0F), {dtype, c.values}}; };
        Result got = fresh(), wanted = fresh();
        const auto grads = [&](Result& r) {
          return GradientArgs{.grad_out = grad.data(),
                              .grad_dtype = dtype,
                              .grad_v = r.v.data(),
                              .accumulate_v = accumulate,
                              .grad_scale = r.scale.data(),
                              .grad_x = r.x.data()};
        };
        kernels.gradient(args, grads(got), 0, c.count);
        ref::gradient(args, grads(wanted), c.count);
        expect_same(got.v, wanted.v, what + ", v");
        expect_same(got.scale, wanted.scale, what + ", scale");
        expect_same(got.x, wanted.x, what + ", x");
      }
  });
}

TEST(ScaledKernelTwins, Choices) {
  for_all([](const Kernels& kernels, const ElementGrid& grid, Shape shape, Dtype dtype, bool divide, const auto& what) {
    Case c(shape, grid, 5, false);
    for (float& x : c.values) x = std::fmin(std::fmax(x, -20.0F), 20.0F);
    Buffer x(dtype, c.values);
    constexpr int64_t kCandidates = 5;
    std::vector<float> scales, inverses;
    for (int64_t k = 0; k < kCandidates; ++k)
      for (int64_t i = 0; i < c.count; ++i) {
        scales.push_back(k == 3 ? 0.0F : static_cast<float>(1 + (k * 3 + i) % 5) * 0.4F / grid.max);
        inverses.push_back(k == 3 ? 0.0F : 1.0F / scales.back());
      }
    Args args = c.args(grid, x, divide, false);
    args.scale = scales.data();
    if (!divide) args.inverse = inverses.data();
    const float* const weights = c.importance.data();
    for (const float* importance : {static_cast<const float*>(nullptr), weights}) {
      std::vector<int32_t> got(static_cast<size_t>(c.count), -1), wanted(got);
      kernels.choose(args, importance, 0, kCandidates, got.data(), 0, c.count);
      ref::choose(args, importance, 0, kCandidates, wanted.data(), c.count);
      ASSERT_EQ(got, wanted) << what;
    }
  });
}

}  // namespace
}  // namespace arkit::sdk::scaled
