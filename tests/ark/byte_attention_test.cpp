// Attention over 8-bit keys and values: all kernels equal `ref` in every bit, and `ref` is what attention is.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "ark_testing.h"
#include "kernels/block_kernels.h"
#include "kernels/kernels.h"

namespace arkit::ark::tests {
namespace {

struct Case {
  int64_t dim = 64, heads = 3, first = 0, queries = 1, window = 0, page_size = 16;
};

const Case kCases[] = {{},
                       {.first = 200, .page_size = 64},
                       {.dim = 32, .heads = 1, .first = 63, .queries = 16},
                       {.dim = 128, .heads = 7, .first = 100, .queries = 5, .page_size = 256},
                       {.dim = 80, .heads = 2, .first = 70, .queries = 17, .page_size = 1008},
                       {.dim = 64, .heads = 4, .first = 150, .queries = 32, .window = 40, .page_size = 48},
                       {.dim = 64, .heads = 1, .first = 150, .queries = 2, .window = 1},
                       {.dim = 16, .heads = 5, .first = 500, .queries = 3},
                       {.dim = 256, .heads = 1, .first = 10, .queries = 16}};

// A sequence in a cache whose other heads and pages, and places behind the last position, hold what hurts.
struct Cached {
  Case c;
  int64_t kv_heads = 2, head = 1, positions = 0, stride = 0;
  std::vector<uint8_t> keys, values;
  std::vector<int64_t> pages;
  std::vector<float> exact_keys, exact_values, query;

  explicit Cached(const Case& of) : c(of) {
    positions = c.first + c.queries;
    const int64_t count = (positions + c.page_size - 1) / c.page_size;
    for (int64_t p = 0; p < count; ++p) pages.push_back(count - 1 - p);
    const auto bytes = static_cast<size_t>(count * kv_heads * c.page_size * (c.dim + 4));
    keys.assign(bytes, 0xFF);  // scales that are no numbers
    values.assign(bytes, 0xFF);
    exact_keys = random_rows(positions, c.dim, 7);
    exact_values = random_rows(positions, c.dim, 8);
    for (float& value : exact_keys) value *= 1.5F;
    std::vector<int8_t> codes(static_cast<size_t>(c.dim));
    for (int64_t p = 0; p < positions; ++p) {
      float scale = 0;
      int32_t sum = 0;
      const int64_t slot = p % c.page_size;
      const int64_t at =
          ((pages[static_cast<size_t>(p / c.page_size)] * kv_heads + head) * c.page_size + slot / kStrip * kStrip) *
          (c.dim + 4);
      float* key = exact_keys.data() + p * c.dim;
      kernels_ref.quantize(key, 1, static_cast<int32_t>(c.dim), kMostLevels, codes.data(), &scale, &sum);
      put_key(codes.data(), scale, c.dim, slot % kStrip, keys.data() + at);
      for (int64_t d = 0; d < c.dim; ++d) key[d] = scale * codes[static_cast<size_t>(d)];
      float* value = exact_values.data() + p * c.dim;
      kernels_ref.quantize(value, 1, static_cast<int32_t>(c.dim), kMostLevels, codes.data(), &scale, &sum);
      put_value(codes.data(), scale, c.dim, slot % kStrip, values.data() + at);
      for (int64_t d = 0; d < c.dim; ++d) value[d] = scale * codes[static_cast<size_t>(d)];
    }
    stride = c.heads * c.dim + 5;
    query = random_rows(c.queries, stride, 9);
  }

  // What each query becomes, of queries `from` .. `from` + `count` - 1.
  [[nodiscard]] std::vector<float> attended(void (*attend)(const ByteAttention&), int64_t from, int64_t count) const {
    std::vector<float> out = query;
    std::vector<float> scratch(static_cast<size_t>(byte_attention_scratch(count * c.heads, c.dim)), NAN);
    const int64_t of_head = c.page_size * (c.dim + 4);
    float* own = out.data() + from * stride;
    attend({.keys = keys.data() + head * of_head,
            .values = values.data() + head * of_head,
            .pages = pages.data(),
            .page_stride = kv_heads * of_head,
            .page_size = c.page_size,
            .first = c.first + from,
            .queries = count,
            .heads = c.heads,
            .dim = c.dim,
            .window = c.window,
            .scale = 0.3F,
            .query = own,
            .out = own,
            .stride = stride,
            .scratch = scratch.data()});
    return out;
  }
};

std::string named(const Case& c) {
  return "dim " + std::to_string(c.dim) + ", heads " + std::to_string(c.heads) + ", queries " +
         std::to_string(c.queries) + " from " + std::to_string(c.first) + ", window " + std::to_string(c.window) +
         ", pages of " + std::to_string(c.page_size);
}

struct Set {
  const Kernels* kernels;
  bool here;
};

std::vector<Set> sets() {
#if defined(__x86_64__)
  return {{&kernels_avx2, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")},
          {&kernels_avx_vnni, __builtin_cpu_supports("avxvnni") != 0},
          {&kernels_avx512_vnni, __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw")}};
#else
  return {};
#endif
}

class ByteAttentionSets : public testing::TestWithParam<Set> {
 protected:
  void SetUp() override {
    if (!GetParam().here) GTEST_SKIP() << "needs a CPU with " << GetParam().kernels->name;
  }
};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(ByteAttentionSets);

TEST_P(ByteAttentionSets, EqualsRefInEveryBit) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(named(c));
    const Cached cached(c);
    const auto expected = cached.attended(kernels_ref.attend, 0, c.queries);
    const auto got = cached.attended(GetParam().kernels->attend, 0, c.queries);
    EXPECT_EQ(std::memcmp(expected.data(), got.data(), got.size() * sizeof(float)), 0);
  }
}

INSTANTIATE_TEST_SUITE_P(All, ByteAttentionSets, testing::ValuesIn(sets()),
                         [](const auto& info) { return std::string(info.param.kernels->name); });

TEST(ByteAttention, IsAttention) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(named(c));
    const Cached cached(c);
    const auto got = cached.attended(kernels_ref.attend, 0, c.queries);
    double off = 0, all = 0;
    for (int64_t q = 0; q < c.queries; ++q) {
      const int64_t position = c.first + q, begin = c.window == 0 ? 0 : std::max<int64_t>(0, position - c.window + 1);
      for (int64_t h = 0; h < c.heads; ++h) {
        const float* query = cached.query.data() + q * cached.stride + h * c.dim;
        std::vector<double> shares;
        double most = -1e300, sum = 0;
        for (int64_t p = begin; p <= position; ++p) {
          double score = 0;
          for (int64_t d = 0; d < c.dim; ++d) score += double{query[d]} * cached.exact_keys[p * c.dim + d];
          shares.push_back(0.3 * score);
          most = std::max(most, shares.back());
        }
        for (double& share : shares) sum += share = std::exp(share - most);
        for (int64_t d = 0; d < c.dim; ++d) {
          double expected = 0;
          for (int64_t p = begin; p <= position; ++p)
            expected += shares[p - begin] / sum * cached.exact_values[p * c.dim + d];
          const double difference = got[static_cast<size_t>(q * cached.stride + h * c.dim + d)] - expected;
          off += difference * difference;
          all += expected * expected;
        }
      }
      for (int64_t i = c.heads * c.dim; i < cached.stride; ++i)  // what lies between rows
        EXPECT_EQ(got[static_cast<size_t>(q * cached.stride + i)],
                  cached.query[static_cast<size_t>(q * cached.stride + i)]);
    }
    EXPECT_LT(std::sqrt(off / all), 0.02);
  }
}

// What a query becomes does not depend on what is asked beside it.
TEST(ByteAttention, IsTheSameInParts) {
  for (const Case& c : kCases) {
    if (c.queries == 1) continue;
    SCOPED_TRACE(named(c));
    const Cached cached(c);
    const auto whole = cached.attended(kernels_ref.attend, 0, c.queries);
    const int64_t half = c.queries / 2;
    const auto late = cached.attended(kernels_ref.attend, half, c.queries - half);
    EXPECT_TRUE(std::equal(whole.begin() + half * cached.stride, whole.end(), late.begin() + half * cached.stride));
  }
}

// Whoever put it there, broken keys and values are not hidden.
TEST(ByteAttention, SaysWhatIsNoNumber) {
  Cached cached({.first = 100, .page_size = 128});
  const int64_t at = (cached.head * 128 + 96) * (64 + 4) + kStrip * 64 + 3 * 4;  // the scale of position 99
  const float nan = NAN;
  std::memcpy(cached.values.data() + at, &nan, sizeof(nan));
  for (const Set& set : sets()) {
    if (!set.here) continue;
    EXPECT_TRUE(std::isnan(cached.attended(set.kernels->attend, 0, 1)[0])) << set.kernels->name;
  }
  EXPECT_TRUE(std::isnan(cached.attended(kernels_ref.attend, 0, 1)[0]));
}

}  // namespace
}  // namespace arkit::ark::tests
