// The kernels of tuning against their `_ref` twins: sizes around the widths of registers, numbers at the ends of float.

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "tuning/tuning_kernels.h"
#include "tuning/tuning_kernels_ref.h"

namespace arkit::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kDenormal = 1e-40F;
constexpr int64_t kSizes[] = {0, 1, 3, 7, 8, 15, 16, 17, 31, 33, 100, 1023};

// Normal numbers, of which every fifth is one of the special ones in turn.
std::vector<float> values(int64_t count, uint64_t seed, const std::vector<float>& special = {}) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> out(static_cast<size_t>(count));
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = normal(random);
    if (!special.empty() && i % 5 == 2) out[i] = special[i / 5 % special.size()];
  }
  return out;
}

bool same_bits(float a, float b) {
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b);
}

void expect_same_bits(const std::vector<float>& got, const std::vector<float>& wanted, const char* what) {
  for (size_t i = 0; i < wanted.size(); ++i)
    ASSERT_TRUE(same_bits(got[i], wanted[i]))
        << what << " " << i << " of " << wanted.size() << ": " << got[i] << ", " << wanted[i];
}

// Fused and separate multiplications differ in the last bits of the larger summand.
void expect_near(const std::vector<float>& got, const std::vector<float>& wanted, double size, const char* what) {
  for (size_t i = 0; i < wanted.size(); ++i)
    ASSERT_NEAR(got[i], wanted[i], 1e-6 * std::fmax(std::fabs(static_cast<double>(wanted[i])), size))
        << what << " " << i << " of " << wanted.size();
}

TEST(TuningKernels, SignSteps) {
  for (const int64_t n : kSizes) {
    std::vector<float> p = values(n, 1, {kDenormal, 0.0F}), p_ref = p;
    std::vector<float> g = values(n, 2, {0.0F, -0.0F, kDenormal, -kDenormal, kInfinity, -kInfinity, kNan}), g_ref = g;
    sign_step(p.data(), g.data(), n, 0.005F);
    sign_step_ref(p_ref.data(), g_ref.data(), n, 0.005F);
    expect_same_bits(p, p_ref, "parameter");
    expect_same_bits(g, g_ref, "gradient");
  }
}

TEST(TuningKernels, SignStepsWithMomentum) {
  for (const bool first : {true, false})
    for (const int64_t n : kSizes) {
      std::vector<float> p = values(n, 3), p_ref = p;
      std::vector<float> b = first ? std::vector<float>(static_cast<size_t>(n)) : values(n, 4), b_ref = b;
      std::vector<float> g = values(n, 5, {0.0F, kInfinity, -kInfinity, kNan, 1e30F}), g_ref = g;
      sign_momentum_step(p.data(), g.data(), b.data(), n, 0.01F, 0.9F, first);
      sign_momentum_step_ref(p_ref.data(), g_ref.data(), b_ref.data(), n, 0.01F, 0.9F, first);
      expect_near(b, b_ref, 1.0, "momentum");
      for (size_t i = 0; i < p.size(); ++i)
        if (std::fabs(b_ref[i]) > 1e-6F || b_ref[i] == 0.0F) {
          ASSERT_TRUE(same_bits(p[i], p_ref[i])) << i << " of " << n;
        }
      expect_same_bits(g, g_ref, "gradient");
    }
}

TEST(TuningKernels, StepsOfAdam) {
  for (const int64_t n : kSizes)
    for (const int64_t time : {1, 2, 50}) {
      const AdamStep step{.lr = 0.01F,
                          .beta1 = 0.9F,
                          .beta2 = 0.95F,
                          .eps = 1e-8F,
                          .correction1 = static_cast<float>(1.0 - std::pow(0.9, time)),
                          .sqrt_correction2 = static_cast<float>(std::sqrt(1.0 - std::pow(0.95, time)))};
      std::vector<float> p = values(n, 6), p_ref = p, m = values(n, 7), m_ref = m, v = values(n, 8);
      for (float& x : v) x = x * x + 0.01F;
      const std::vector<float> before = p;
      std::vector<float> v_ref = v, g = values(n, 9, {0.0F, kInfinity, -kInfinity, kNan, 1e30F}), g_ref = g;
      adam_step(p.data(), g.data(), m.data(), v.data(), n, step);
      adam_step_ref(p_ref.data(), g_ref.data(), m_ref.data(), v_ref.data(), n, step);
      expect_near(m, m_ref, 1.0, "mean");
      expect_near(v, v_ref, 1.0, "square");
      for (size_t i = 0; i < p.size(); ++i)
        ASSERT_NEAR(p[i], p_ref[i], 1e-6 * (1.0 + std::fabs(static_cast<double>(before[i])))) << i << " of " << n;
      expect_same_bits(g, g_ref, "gradient");
    }
}

template <typename T>
std::vector<T> stored(const std::vector<float>& x) {
  std::vector<T> out(x.size());
  for (size_t i = 0; i < x.size(); ++i) put_ref(out[i], x[i]);
  return out;
}

template <typename T>
void expect_errors_of_the_twin() {
  constexpr int64_t kRows = 5;
  const std::vector<uint8_t> some{1, 0, 1, 1, 0};
  for (const int64_t width : kSizes)
    for (const uint8_t* mask : {static_cast<const uint8_t*>(nullptr), some.data()})
      for (const float limit : {kInfinity, 1.5F}) {
        const std::vector<float> ends{kDenormal, -kDenormal, 0.0F, 1e6F, -3e4F};
        const auto pred = stored<T>(values(kRows * width, 10, ends)), ref = stored<T>(values(kRows * width, 11));
        std::vector<T> grad = stored<T>(std::vector<float>(pred.size(), 7.0F)), grad_ref = grad;
        const double wanted =
            squared_error_ref(pred.data(), ref.data(), mask, kRows, width, 0.125F, limit, grad_ref.data());
        const double got =
            limit == kInfinity
                ? squared_error(pred.data(), ref.data(), mask, kRows, width, 0.125F, grad.data())
                : squared_error_below(pred.data(), ref.data(), mask, kRows, width, 0.125F, limit, grad.data());
        ASSERT_NEAR(got, wanted, 1e-5 * wanted) << width;  // a row is added up in float
        for (size_t i = 0; i < grad.size(); ++i)
          ASSERT_TRUE(same_bits(value_ref(grad[i]), value_ref(grad_ref[i]))) << i << " of " << width;
      }
}

TEST(TuningKernels, SquaredErrorsAndTheirGradients) {
  expect_errors_of_the_twin<float>();
  expect_errors_of_the_twin<BFloat16>();
}

// What is not finite shows in the sum: runs end by it.
TEST(TuningKernels, InfinitiesReachTheSum) {
  for (const int64_t width : {1, 16, 33})
    for (const float bad : {kInfinity, -kInfinity, kNan}) {
      std::vector<float> pred(static_cast<size_t>(width), 1.0F), ref(pred.size()), grad(pred.size());
      pred.back() = bad;
      const double sum = squared_error(pred.data(), ref.data(), nullptr, 1, width, 1.0F, grad.data());
      EXPECT_FALSE(std::isfinite(sum)) << width;
      EXPECT_EQ(std::isnan(sum), std::isnan(bad)) << width;
    }
}

template <typename T>
void expect_column_sums_of_the_twin() {
  for (const int64_t rows : {0, 1, 9})
    for (const int64_t width : kSizes) {
      const auto x = stored<T>(values(rows * width, 12, {kDenormal, 0.0F, 1e2F}));
      const std::vector<float> start = values(width, 13);
      std::vector<float> squares = start, sums = start;
      std::vector<double> squares_ref(start.begin(), start.end()), sums_ref = squares_ref;
      add_squares(x.data(), rows, width, squares.data());
      add_rows(x.data(), rows, width, sums.data());
      add_squares_ref(x.data(), rows, width, squares_ref.data());
      add_rows_ref(x.data(), rows, width, sums_ref.data());
      for (size_t i = 0; i < start.size(); ++i) {
        ASSERT_NEAR(squares[i], squares_ref[i], 1e-6 * (std::fabs(squares_ref[i]) + 1.0)) << rows << "x" << width;
        ASSERT_NEAR(sums[i], sums_ref[i], 1e-6 * 1e3) << rows << "x" << width;  // nine numbers up to 100
      }
    }
}

TEST(TuningKernels, SumsOfColumns) {
  expect_column_sums_of_the_twin<float>();
  expect_column_sums_of_the_twin<BFloat16>();
}

}  // namespace
}  // namespace arkit::kernels
