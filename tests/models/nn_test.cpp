// Each fused piece against its twin made of plain ATen operators: values and gradients, f32 and bf16.
#include <arkit/sdk/nn.h>

#include <cmath>
#include <functional>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <arkit/fixed_order.h>
#include <arkit/sdk/attention.h>
#include <arkit/sdk/rope.h>
#include <arkit/sdk/testing.h>

namespace arkit::sdk {
namespace {

using Inputs = std::vector<at::Tensor>;
using Op = std::function<at::Tensor(const Inputs&)>;

struct Result {
  at::Tensor value;
  Inputs gradients;
};

Result evaluate(const Op& op, const Inputs& inputs, const at::Tensor& grad) {
  Inputs leaves;
  for (const at::Tensor& x : inputs) leaves.push_back(x.detach().clone().requires_grad_(true));
  Result out;
  out.value = op(leaves);
  (out.value.to(at::kFloat) * grad).sum().backward();
  for (const at::Tensor& leaf : leaves) out.gradients.push_back(leaf.grad());
  return out;
}

// f32: orders of summation and a 2-ulp exp. bf16: one rounding more or less in a gradient is one ulp, 2^-8.
void expect_same(const Op& fused, const Op& ref, const Inputs& inputs, const at::Tensor& grad,
                 std::initializer_list<at::ScalarType> dtypes = {at::kFloat, at::kBFloat16}) {
  for (const at::ScalarType dtype : dtypes) {
    Inputs typed;
    for (const at::Tensor& x : inputs) typed.push_back(x.to(dtype));
    const double value_tolerance = dtype == at::kFloat ? 2e-6 : 1.0 / 256;
    const double grad_tolerance = dtype == at::kFloat ? 2e-5 : 4.0 / 256;
    const Result a = evaluate(fused, typed, grad), b = evaluate(ref, typed, grad);
    EXPECT_EQ(a.value.scalar_type(), dtype);
    EXPECT_TRUE(close(a.value, b.value, value_tolerance, value_tolerance)) << dtype;
    for (size_t i = 0; i < inputs.size(); ++i)
      EXPECT_TRUE(close(a.gradients[i], b.gradients[i], grad_tolerance * (dtype == at::kFloat ? 1 : 4), grad_tolerance))
          << dtype << " gradient " << i;
    const c10::NoGradGuard no_grad;
    EXPECT_TRUE(fused(typed).equal(a.value)) << "without gradients";
  }
}

TEST(RmsNorm, EqualsItsReference) {
  at::manual_seed(1);
  for (const int64_t width : {5, 16, 67, 576})
    expect_same([](const Inputs& x) { return rms_norm(x[0], x[1], 1e-5); },
                [](const Inputs& x) { return rms_norm_ref(x[0], x[1], 1e-5); },
                {at::randn({3, 7, width}), at::randn({width})}, at::randn({3, 7, width}));
}

TEST(RmsNorm, KeepsTheLlamaRoundingOrder) {
  // n = 1.0078125 (odd last bit) after rounding; times 1.5 rounds differently from the unrounded product in some
  // elements, so a version that rounds once would differ from the reference somewhere in this tensor.
  at::manual_seed(2);
  const at::Tensor x = at::randn({64, 576}).to(at::kBFloat16), w = (at::randn({576}) + 1.5).to(at::kBFloat16);
  const at::Tensor wide = x.to(at::kFloat);
  const at::Tensor once = (w.to(at::kFloat) * wide * at::rsqrt(wide.square().mean(-1, true) + 1e-5)).to(at::kBFloat16);
  const at::Tensor got = rms_norm(x, w, 1e-5), ref = rms_norm_ref(x, w, 1e-5);
  const double wrong = got.ne(ref).to(at::kFloat).mean().item<double>();
  EXPECT_LT(wrong, 1e-3);  // a sum in another order flips few roundings
  EXPECT_GT(once.ne(ref).to(at::kFloat).mean().item<double>(), 0.1);
}

Inputs rope_inputs(int64_t rows, int64_t half) {
  const at::Tensor angle = at::randn({rows, 5, half});
  return {angle.cos(), angle.sin()};
}

// The weight before the one rounding, with what is added to it; in f32 there is no rounding to tell the two kinds apart.
TEST(RmsNorm, OfALayoutMultipliesBeforeOrAfterTheRounding) {
  at::manual_seed(3);
  const at::Tensor x = at::randn({64, 48}).to(at::kBFloat16), weight = at::randn({48}).to(at::kBFloat16);
  const at::Tensor wide = x.to(at::kFloat), norm = wide * at::rsqrt(wide.square().mean(-1, true) + 1e-5);
  const auto equal = [](const at::Tensor& a, const at::Tensor& b) {
    return a.eq(b).to(at::kFloat).mean().item<float>();
  };
  const at::Tensor before = weight * norm.to(at::kBFloat16), after = (weight.to(at::kFloat) * norm).to(at::kBFloat16);
  const at::Tensor one = ((1.0 + weight.to(at::kFloat)) * norm).to(at::kBFloat16);
  ASSERT_LT(equal(before, after), 0.9F);
  // The sum of squares in another order: now and then the other neighbour.
  EXPECT_GT(equal(apply_norm({.epsilon = 1e-5}, x, weight), before), 0.99F);
  EXPECT_GT(equal(apply_norm({.epsilon = 1e-5, .wide = true}, x, weight), after), 0.99F);
  EXPECT_GT(equal(apply_norm({.epsilon = 1e-5, .offset = 1.0, .wide = true}, x, weight), one), 0.99F);
}

TEST(Rope, EqualsItsReference) {
  at::manual_seed(3);
  for (const int64_t rows : {1, 2})
    for (const int64_t half : {4, 8, 3}) {  // 3: only six of sixteen channels rotate
      static Inputs tables;
      tables = rope_inputs(rows, half);
      expect_same([](const Inputs& x) { return apply_rope(x[0], tables[0].to(x[0]), tables[1].to(x[0])); },
                  [](const Inputs& x) { return apply_rope_ref(x[0], tables[0].to(x[0]), tables[1].to(x[0])); },
                  {at::randn({2, 5, 3, 16})}, at::randn({2, 5, 3, 16}));
    }
}

TEST(Rope, RoundsLikeTheOperatorChain) {
  at::manual_seed(4);
  const Inputs tables = rope_inputs(1, 8);
  const at::Tensor x = at::randn({2, 5, 3, 16}).to(at::kBFloat16);
  EXPECT_TRUE(
      apply_rope(x, tables[0].to(x), tables[1].to(x)).equal(apply_rope_ref(x, tables[0].to(x), tables[1].to(x))));
}

TEST(SiluMul, EqualsItsReference) {
  at::manual_seed(5);
  for (const int64_t n : {1, 17, 1000})
    expect_same([](const Inputs& x) { return silu_mul(x[0], x[1]); },
                [](const Inputs& x) { return silu_mul_ref(x[0], x[1]); }, {at::randn({3, n}) * 4, at::randn({3, n})},
                at::randn({3, n}));
}

TEST(SiluMul, IsFiniteAtTheEnds) {
  const at::Tensor gate = at::tensor({-1e30F, -200.0F, -88.0F, 0.0F, 88.0F, 200.0F, 1e30F});
  const at::Tensor got = silu_mul(gate, at::ones_like(gate));
  EXPECT_TRUE(close(got, at::silu(gate), 1e-8, 1e-6));  // exp stops at 88: -1e30 gives -4e-9, not -0
  EXPECT_TRUE(silu_mul(at::tensor({NAN}), at::ones({1})).isnan().all().item<bool>());
}

at::Tensor causal(int64_t seqlen, int64_t window) {
  at::Tensor mask = at::full({seqlen, seqlen}, -1e30);
  for (int64_t i = 0; i < seqlen; ++i)
    for (int64_t j = 0; j <= i; ++j)
      if (window == 0 || j > i - window) mask[i][j] = 0.0;
  return mask;
}

TEST(Attention, EqualsEagerWithAndWithoutWindow) {
  at::manual_seed(6);
  const at::Tensor q = at::randn({2, 6, 9, 16}), k = at::randn({2, 2, 9, 16}), v = at::randn({2, 2, 9, 16});
  for (const int64_t window : {0, 4, 9, 100}) {
    const at::Tensor mask = attention_mask({.past = 0, .seqlen = 9, .window = window, .key_mask = {}}, at::kFloat);
    EXPECT_EQ(mask.defined(), window == 4) << "a window that hides nothing needs no mask";
    const at::Tensor wanted = attention_ref(q, k, v, causal(9, window), 0.25);
    EXPECT_TRUE(close(attention(q, k, v, mask, 0.25), wanted, 2e-6));
    EXPECT_TRUE(close(attention_ref(q, k, v, mask, 0.25), wanted, 2e-6));
  }
}

// Long causal calls go through tiles of 128 queries: fewer than one tile, a whole number, and a rest; grouped heads.
// The same numbers up to the order of sums: one query with a cache, whole sequences, windows, grouped heads.
TEST(FixedOrder, AttentionEqualsEager) {
  at::manual_seed(9);
  const at::Tensor key = at::randn({2, 2, 21, 20}), value = at::randn({2, 2, 21, 20});
  for (const int64_t queries : {1, 21}) {
    const at::Tensor query = at::randn({2, 6, queries, 20});
    for (const int64_t window : {0, 5}) {
      const at::Tensor mask =
          attention_mask({.past = 21 - queries, .seqlen = queries, .window = window, .key_mask = {}}, at::kFloat);
      const at::Tensor expected = attention_ref(query, key, value, mask, 0.3);
      const arkit::FixedOrder fixed;
      EXPECT_TRUE(close(attention(query, key, value, mask, 0.3), expected, 2e-6, 2e-5)) << queries << " " << window;
      EXPECT_TRUE(close(attention(query, key, value, mask, 0.3, 1.5), attention_ref(query, key, value, mask, 0.3, 1.5),
                        2e-6, 2e-5));
    }
  }
}

TEST(FixedOrder, ActivationsAndTablesAreTheUsualOnes) {
  const at::Tensor gate = at::linspace(-9, 9, 301), up = at::linspace(-1, 2, 301);
  Rope config;
  config.theta = 1e5;
  config.head_dim = config.dim = 64;
  config.max_positions = 4096;
  const at::Tensor positions = at::arange(0, 4000, 37, at::kLong).unsqueeze(0);
  const RopeTables tables = rope_tables(rope_frequencies(config, 4096), positions, at::kFloat);
  for (const Activation activation : {Activation::silu, Activation::gelu, Activation::gelu_tanh, Activation::relu}) {
    const at::Tensor expected = gated(activation, gate, up);
    const arkit::FixedOrder fixed;
    EXPECT_TRUE(close(gated(activation, gate, up), expected, 1e-6, 1e-5));
  }
  const arkit::FixedOrder fixed;
  const RopeTables same = rope_tables(rope_frequencies(config, 4096), positions, at::kFloat);
  EXPECT_TRUE(close(same.cos, tables.cos, 2e-3, 0));  // an ulp of the frequency, 4000 positions on
  EXPECT_TRUE(close(same.sin, tables.sin, 2e-3, 0));
}

// Under LibTorch's deterministic switch neither kernels nor gradients depend on threads.
TEST(Deterministic, PiecesDoNotDependOnThreads) {
  at::manual_seed(10);
  const int threads = at::get_num_threads();
  at::globalContext().setDeterministicAlgorithms(true, true);
  const at::Tensor x = at::randn({2, 300, 48}), weight = at::randn({48}), grad = at::randn({2, 300, 48});
  const at::Tensor query = at::randn({1, 3, 96, 16}), key = at::randn({1, 1, 96, 16}),
                   value = at::randn({1, 1, 96, 16});
  const at::Tensor window = attention_mask({.past = 0, .seqlen = 96, .window = 20, .key_mask = {}}, at::kFloat);
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    Inputs expected;
    for (const int count : {1, 2, 5}) {
      at::set_num_threads(count);
      const Result norm = evaluate([](const Inputs& in) { return rms_norm(in[0], in[1], 1e-5); },
                                   {x.to(dtype), weight.to(dtype)}, grad);
      const Result heads = evaluate([](const Inputs& in) { return attention(in[0], in[1], in[2], at::Tensor(), 0.2); },
                                    {query.to(dtype), key.to(dtype), value.to(dtype)}, at::ones({1, 96, 48}));
      const Result capped =
          evaluate([&](const Inputs& in) { return attention(in[0], in[1], in[2], window.to(dtype), 0.2, 2.0); },
                   {query.to(dtype), key.to(dtype), value.to(dtype)}, at::ones({1, 96, 48}));
      const Result centred = evaluate([](const Inputs& in) { return layer_norm(in[0], in[1], {}, 1e-5); },
                                      {x.to(dtype), weight.to(dtype)}, grad);
      Inputs seen{norm.value, heads.value, fixed_sum(x), capped.value, centred.value};
      seen.insert(seen.end(), capped.gradients.begin(), capped.gradients.end());
      seen.insert(seen.end(), centred.gradients.begin(), centred.gradients.end());
      seen.insert(seen.end(), norm.gradients.begin(), norm.gradients.end());
      seen.insert(seen.end(), heads.gradients.begin(), heads.gradients.end());
      if (expected.empty()) expected = seen;
      for (size_t i = 0; i < seen.size(); ++i) EXPECT_TRUE(at::equal(seen[i], expected[i])) << i << ", " << count;
    }
  }
  at::globalContext().setDeterministicAlgorithms(false, true);
  at::set_num_threads(threads);
}

TEST(FixedSum, SumsEverythingAndSpreadsTheGradient) {
  EXPECT_EQ(fixed_sum(at::arange(1001, at::kFloat)).item<float>(), 500500.0F);
  EXPECT_EQ(fixed_sum(at::empty({0})).item<float>(), 0.0F);
  const at::Tensor scalar = at::ones({1}).requires_grad_(true);
  (spread_scalar(scalar, {3, 7}) * at::arange(21, at::kFloat).view({3, 7})).sum().backward();
  EXPECT_EQ(scalar.grad().item<float>(), 210.0F);
}

TEST(Attention, InTilesEqualsEagerForwardAndBackward) {
  at::manual_seed(7);
  for (const int64_t seqlen : {64, 128, 300}) {
    for (const int64_t kv_heads : {1, 2, 6}) {
      const auto heads_first = [&](int64_t heads) { return at::randn({2, seqlen, heads, 16}).transpose(1, 2) * 2; };
      expect_same([](const Inputs& x) { return attention(x[0], x[1], x[2], at::Tensor(), 0.25); },
                  [](const Inputs& x) { return attention_ref(x[0], x[1], x[2], at::Tensor(), 0.25); },
                  {heads_first(6), heads_first(kv_heads), heads_first(kv_heads)}, at::randn({2, seqlen, 96}),
                  {at::kFloat});
    }
  }
}

// Scores that are bent: with and without a mask, shorter and longer than a tile, grouped heads, both directions.
TEST(Attention, CappedScoresEqualEagerForwardAndBackward) {
  at::manual_seed(8);
  for (const int64_t seqlen : {1, 9, 130}) {
    for (const int64_t kv_heads : {1, 2, 6}) {
      const auto heads_first = [&](int64_t heads) { return at::randn({2, seqlen, heads, 16}).transpose(1, 2) * 2; };
      const at::Tensor real = at::ones({2, seqlen}, at::kBool);
      if (seqlen > 4) real[0].narrow(0, 0, 3).fill_(false);
      const std::vector<at::Tensor> masks = {
          at::Tensor(), attention_mask({.past = 0, .seqlen = seqlen, .window = 5, .key_mask = {}}, at::kFloat),
          attention_mask({.past = 0, .seqlen = seqlen, .window = 0, .key_mask = real}, at::kFloat)};
      for (const at::Tensor& mask : masks)
        expect_same([&](const Inputs& x) { return attention(x[0], x[1], x[2], mask, 0.25, 1.5); },
                    [&](const Inputs& x) { return attention_ref(x[0], x[1], x[2], mask, 0.25, 1.5); },
                    {heads_first(6), heads_first(kv_heads), heads_first(kv_heads)}, at::randn({2, seqlen, 96}),
                    {at::kFloat});
    }
  }
  // Of queries that go on from a past.
  const at::Tensor q = at::randn({1, 4, 5, 8}), k = at::randn({1, 2, 21, 8}), v = at::randn({1, 2, 21, 8});
  const at::Tensor mask = attention_mask({.past = 16, .seqlen = 5, .window = 0, .key_mask = {}}, at::kFloat);
  EXPECT_TRUE(close(attention(q, k, v, mask, 0.5, 2.0), attention_ref(q, k, v, mask, 0.5, 2.0), 2e-6));
  const at::Tensor last = q.narrow(2, 4, 1);
  EXPECT_TRUE(close(attention(last, k, v, {}, 0.5, 2.0), attention_ref(last, k, v, {}, 0.5, 2.0), 2e-6));
  EXPECT_FALSE(close(attention(q, k, v, mask, 0.5, 2.0), attention(q, k, v, mask, 0.5), 1e-3));
  // Scores far beyond the cap, and far below where tanh is a line.
  for (const double size : {1e4, 1e-4})
    EXPECT_TRUE(
        close(attention(q * size, k, v, mask, 0.5, 30.0), attention_ref(q * size, k, v, mask, 0.5, 30.0), 1e-5));
  // 16-bit calls that are not small are computed in 32 bits.
  const auto half = [](const at::Tensor& x) { return x.to(at::kBFloat16); };
  const at::Tensor large = at::randn({1, 4, 70, 8}), keys = at::randn({1, 2, 70, 8});
  EXPECT_TRUE(close(attention(half(large), half(keys), half(keys), {}, 0.5, 2.0).to(at::kFloat),
                    attention_ref(large, keys, keys, {}, 0.5, 2.0), 3e-2));
}

TEST(Attention, CappedRowsOfPaddingStayFiniteInBothDirections) {
  const at::Tensor real = at::tensor({0, 0, 0, 1, 1, 1}).reshape({1, 6}).to(at::kBool);
  const at::Tensor mask = attention_mask({.past = 0, .seqlen = 6, .window = 2, .key_mask = real}, at::kFloat);
  at::manual_seed(3);
  const at::Tensor q = at::randn({1, 2, 6, 8}), k = at::randn({1, 1, 6, 8}), v = at::randn({1, 1, 6, 8});
  expect_same([&](const Inputs& x) { return attention(x[0], x[1], x[2], mask, 0.3, 2.0); },
              [&](const Inputs& x) { return attention_ref(x[0], x[1], x[2], mask, 0.3, 2.0); }, {q, k, v},
              at::randn({1, 6, 16}), {at::kFloat});
}

TEST(LayerNorm, EqualsLibTorchsForwardAndBackward) {
  at::manual_seed(11);
  const at::Tensor x = at::randn({3, 5, 48}) * 3 + 1, weight = at::randn({48}), bias = at::randn({48});
  expect_same([](const Inputs& in) { return layer_norm(in[0], in[1], in[2], 1e-5); },
              [](const Inputs& in) { return at::layer_norm(in[0], {48}, in[1], in[2], 1e-5); }, {x, weight, bias},
              at::randn({3, 5, 48}), {at::kFloat});
  EXPECT_TRUE(close(layer_norm(x, weight, {}, 1e-5), at::layer_norm(x, {48}, weight, {}, 1e-5), 2e-6));
  const at::Tensor half = x.to(at::kBFloat16), w = weight.to(at::kBFloat16), b = bias.to(at::kBFloat16);
  EXPECT_TRUE(close(layer_norm(half, w, b, 1e-5).to(at::kFloat), at::layer_norm(half, {48}, w, b, 1e-5).to(at::kFloat),
                    0.0, 8e-3));
  EXPECT_EQ(layer_norm(half, w, b, 1e-5).scalar_type(), at::kBFloat16);
}

// As Cohere and GLM write it: pairs of neighbours, and channels behind them that do not turn.
TEST(Rope, TurnsNeighbours) {
  at::manual_seed(12);
  const at::Tensor x = at::randn({2, 7, 3, 12}), angle = at::randn({1, 7, 4});
  const at::Tensor cos = angle.cos(), sin = angle.sin(), got = apply_rope(x, cos, sin, true);
  const at::Tensor c = cos.repeat_interleave(2, -1).unsqueeze(2), s = sin.repeat_interleave(2, -1).unsqueeze(2);
  const at::Tensor turning = x.narrow(-1, 0, 8);
  const at::Tensor even = turning.slice(-1, 0, 8, 2), odd = turning.slice(-1, 1, 8, 2);
  const at::Tensor half = at::stack({-odd, even}, -1).flatten(-2);
  EXPECT_TRUE(close(got, at::cat({turning * c + half * s, x.narrow(-1, 8, 4)}, -1), 2e-6));
}

TEST(Attention, FullyPaddedRowsStayFiniteInBothDirections) {
  const at::Tensor real = at::tensor({0, 0, 0, 1, 1, 1}).reshape({1, 6}).to(at::kBool);
  const at::Tensor mask = attention_mask({.past = 0, .seqlen = 6, .window = 2, .key_mask = real}, at::kFloat);
  const at::Tensor q = at::randn({1, 2, 6, 8}).requires_grad_(true), k = at::randn({1, 1, 6, 8}).requires_grad_(true);
  const at::Tensor v = at::randn({1, 1, 6, 8}).requires_grad_(true);
  attention(q, k, v, mask, 0.3).sum().backward();
  for (const at::Tensor& x : {q, k, v}) EXPECT_TRUE(x.grad().isfinite().all().item<bool>());
}

}  // namespace
}  // namespace arkit::sdk
