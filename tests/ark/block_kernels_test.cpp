// What ark computes between products, against the same in double precision.
#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <arkit/sdk/float16.h>

#include "kernels/block_kernels.h"

namespace arkit::ark::tests {
namespace {

struct Set {
  const char* name;
  const BlockKernels* kernels;
  bool here;
};

std::vector<Set> sets() {
#if defined(__x86_64__)
  return {
      {"avx2", &block_kernels_avx2, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")},
      {"avx512", &block_kernels_avx512, __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw")}};
#else
  return {};
#endif
}

std::vector<float> random_floats(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(count);
  for (float& value : x) value = normal(random);
  return x;
}

class BlockKernelSets : public testing::TestWithParam<Set> {
 protected:
  void SetUp() override {
    if (!GetParam().here) GTEST_SKIP() << "needs a CPU with " << GetParam().name;
  }
  const BlockKernels& kernels() const { return *GetParam().kernels; }
};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(BlockKernelSets);

TEST_P(BlockKernelSets, RmsNorm) {
  for (const int64_t n : {1, 7, 16, 64, 100, 576}) {
    const auto x = random_floats(static_cast<size_t>(n), 1), weight = random_floats(static_cast<size_t>(n), 2);
    double squares = 0;
    for (const float v : x) squares += double{v} * v;
    const double factor = 1 / std::sqrt(squares / static_cast<double>(n) + 1e-5);
    std::vector<float> out(x.size());
    kernels().rms_norm(x.data(), weight.data(), n, 1e-5F, 1.0F, out.data());
    for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(out[i], x[i] * factor * (1.0 + weight[i]), 1e-5) << n;
  }
}

TEST_P(BlockKernelSets, Rope) {
  for (const bool neighbours : {false, true}) {
    const int64_t heads = 3, dim = 16, half = 6;
    auto x = random_floats(heads * dim, 3);
    const auto before = x, angles = random_floats(half, 4);
    std::vector<float> cos, sin;
    for (const float a : angles) {
      cos.push_back(std::cos(a));
      sin.push_back(std::sin(a));
    }
    kernels().rope(x.data(), heads, dim, half, neighbours, cos.data(), sin.data());
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t d = 0; d < dim; ++d) {
        const auto at = static_cast<size_t>(h * dim + d);
        if (d >= 2 * half) {
          EXPECT_EQ(x[at], before[at]);
          continue;
        }
        const int64_t i = neighbours ? d / 2 : d % half;
        const bool first = neighbours ? d % 2 == 0 : d < half;
        const size_t other = neighbours ? at ^ 1U : first ? at + half : at - half;
        const double a = angles[static_cast<size_t>(i)];
        EXPECT_NEAR(x[at], before[at] * std::cos(a) + (first ? -1 : 1) * before[other] * std::sin(a), 1e-6);
      }
  }
}

TEST_P(BlockKernelSets, GatedActivations) {
  for (const int64_t n : {5, 16, 40}) {
    std::vector<float> gate = random_floats(static_cast<size_t>(n), 5), up = random_floats(static_cast<size_t>(n), 6);
    for (size_t i = 0; i < gate.size(); ++i) gate[i] *= 8;
    gate[0] = -300;
    gate[1] = 300;
    for (const Activation activation : {Activation::silu, Activation::gelu_tanh}) {
      std::vector<float> out(gate.size() + 1, 77.0F);
      kernels().gated(activation, gate.data(), up.data(), n, out.data());
      for (size_t i = 0; i < gate.size(); ++i) {
        const double x = gate[i];
        const double y = activation == Activation::silu
                             ? x / (1 + std::exp(-x))
                             : 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
        EXPECT_NEAR(out[i], y * up[i], 2e-6 * std::max(1.0, std::abs(y * up[i]))) << x;
      }
      EXPECT_EQ(out.back(), 77.0F);
    }
  }
}

struct AttentionCase {
  int64_t dim = 64, heads = 3, first = 0, queries = 1, window = 0, page_size = 16;
  CacheType type = CacheType::float32;
};

TEST_P(BlockKernelSets, Attention) {
  const AttentionCase cases[] = {{},
                                 {.first = 200},
                                 {.dim = 32, .heads = 1, .first = 63, .queries = 16},
                                 {.dim = 128, .heads = 7, .first = 100, .queries = 5, .page_size = 256},
                                 {.dim = 80, .heads = 2, .first = 70, .queries = 16, .page_size = 1000},
                                 {.dim = 64, .heads = 4, .first = 150, .queries = 16, .window = 40},
                                 {.dim = 64, .heads = 1, .first = 150, .queries = 2, .window = 1},
                                 {.dim = 96, .heads = 3, .first = 129, .queries = 9, .type = CacheType::bfloat16},
                                 {.dim = 256, .heads = 1, .first = 10, .queries = 16, .page_size = 3}};
  for (const AttentionCase& c : cases) {
    SCOPED_TRACE(testing::Message() << "dim " << c.dim << ", heads " << c.heads << ", queries " << c.queries << " from "
                                    << c.first << ", window " << c.window << ", pages of " << c.page_size);
    const int64_t positions = c.first + c.queries, pages = (positions + c.page_size - 1) / c.page_size;
    const int64_t kv_heads = 2, head = 1, page_stride = kv_heads * c.page_size * c.dim;
    std::vector<float> keys = random_floats(static_cast<size_t>(pages * page_stride), 7);
    std::vector<float> values = random_floats(keys.size(), 8);
    std::vector<uint16_t> short_keys, short_values;
    if (c.type == CacheType::bfloat16)
      for (size_t i = 0; i < keys.size(); ++i) {
        short_keys.push_back(sdk::float_to_bfloat16(keys[i]));
        short_values.push_back(sdk::float_to_bfloat16(values[i]));
        keys[i] = sdk::bfloat16_to_float(short_keys[i]);
        values[i] = sdk::bfloat16_to_float(short_values[i]);
      }
    std::vector<int64_t> order;
    for (int64_t p = 0; p < pages; ++p) order.push_back(pages - 1 - p);
    const int64_t stride = c.heads * c.dim + 5, offset = head * c.page_size * c.dim;
    auto query = random_floats(static_cast<size_t>(c.queries * stride), 9);
    const auto asked = query;
    std::vector<float> scratch(static_cast<size_t>(attend_scratch(c.heads, c.dim)));
    const bool floats = c.type == CacheType::float32;
    kernels().attend(
        {.cache = {.keys = floats ? static_cast<const void*>(keys.data() + offset) : short_keys.data() + offset,
                   .values = floats ? static_cast<const void*>(values.data() + offset) : short_values.data() + offset,
                   .pages = order.data(),
                   .page_stride = page_stride,
                   .page_size = c.page_size,
                   .type = c.type},
         .first = c.first,
         .queries = c.queries,
         .heads = c.heads,
         .dim = c.dim,
         .window = c.window,
         .scale = 0.3F,
         .query = query.data(),
         .out = query.data(),
         .stride = stride,
         .scratch = scratch.data()});
    const auto at = [&](int64_t position) {
      return static_cast<size_t>(order[static_cast<size_t>(position / c.page_size)] * page_stride + offset +
                                 position % c.page_size * c.dim);
    };
    for (int64_t q = 0; q < c.queries; ++q)
      for (int64_t h = 0; h < c.heads; ++h) {
        const auto from = static_cast<size_t>(q * stride + h * c.dim);
        const int64_t position = c.first + q, begin = c.window == 0 ? 0 : std::max<int64_t>(0, position - c.window + 1);
        std::vector<double> shares;
        double most = -1e300, sum = 0;
        for (int64_t p = begin; p <= position; ++p) {
          double score = 0;
          for (int64_t d = 0; d < c.dim; ++d) score += double{asked[from + d]} * keys[at(p) + d];
          shares.push_back(0.3 * score);
          most = std::max(most, shares.back());
        }
        for (double& share : shares) sum += share = std::exp(share - most);
        for (int64_t d = 0; d < c.dim; ++d) {
          double expected = 0;
          for (int64_t p = begin; p <= position; ++p) expected += shares[p - begin] / sum * values[at(p) + d];
          ASSERT_NEAR(query[from + d], expected, 2e-5) << "query " << q << ", head " << h << ", channel " << d;
        }
      }
    for (int64_t q = 0; q < c.queries; ++q)  // what lies between rows
      for (int64_t i = c.heads * c.dim; i < stride; ++i)
        EXPECT_EQ(query[static_cast<size_t>(q * stride + i)], asked[static_cast<size_t>(q * stride + i)]);
  }
}

INSTANTIATE_TEST_SUITE_P(All, BlockKernelSets, testing::ValuesIn(sets()),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace arkit::ark::tests
