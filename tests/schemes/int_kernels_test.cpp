// Every compiled variant of the kernels against the reference, bit for bit.
#include "kernels/int_kernels.h"

#include <gtest/gtest.h>

#include <ATen/ATen.h>

namespace arkit::int_scheme {
namespace {

constexpr Dtype kDtypes[] = {Dtype::f32, Dtype::bf16, Dtype::f16};

at::ScalarType torch_type(Dtype dtype) {
  return dtype == Dtype::f32 ? at::kFloat : dtype == Dtype::bf16 ? at::kBFloat16 : at::kHalf;
}

enum class Mode {
  rtn,
  scaled,
  searched_start
};  // without scales; with min/max scale; with init_scale (enable_alg_ext)

struct Problem {
  Formula formula;
  Groups groups;
  Mode mode;
  int64_t out = 5;
  at::Tensor weight, grad, v, min_scale, max_scale, init_scale, imatrix;

  int64_t total() const { return out * groups.per_row; }
};

// Rows: zeros, values so small that the scale is floored (some subnormal), one sign only, ordinary, one tie of the two
// ends.
Problem make_problem(Formula formula, int64_t group, Mode mode) {
  Problem p{formula, {}, mode};
  const int64_t in = 160, size = std::min(group, in);
  p.groups = {in, size, (in + size - 1) / size};
  at::Tensor w = at::randn({p.out, in}) * 0.05;
  w[0].zero_();
  w[1].mul_(2e-5);
  w[1].slice(0, 0, 20).mul_(1e-36);
  w[2].abs_();
  w[4][3] = 0.75;
  w[4][4] = -0.75;
  p.weight = w.to(torch_type(formula.weight));
  p.grad = (at::randn({p.out, in}) * 300).to(formula.weight == Dtype::f32 ? at::kBFloat16 : at::kFloat);
  p.v = at::randn({p.total(), size}) * 0.3;
  p.min_scale = at::rand({p.total()}) * 0.6 + 0.4;
  p.max_scale = at::rand({p.total()}) * 0.6 + 0.4;
  p.init_scale = at::randn({p.total()}) * 0.01;
  p.imatrix = at::rand({in});
  p.imatrix.slice(0, 0, 29).zero_();
  p.imatrix[50].zero_();
  return p;
}

// Everything the kernels produce for one problem, in a fixed order.
std::vector<at::Tensor> run(const Kernels& k, const Problem& p) {
  const int64_t n = p.total(), in = p.groups.in;
  const at::ScalarType weight_type = torch_type(p.formula.weight);
  std::vector<at::Tensor> results;
  const auto make = [&](at::IntArrayRef sizes, at::ScalarType type) {
    results.push_back(at::full(sizes, 3, type));
    return results.back().mutable_data_ptr();
  };
  WeightArgs a;
  a.formula = p.formula;
  a.groups = p.groups;
  a.weight = p.weight.const_data_ptr();
  if (p.mode != Mode::rtn) {
    a.v = p.v.const_data_ptr<float>();
    a.max_scale = p.max_scale.const_data_ptr<float>();
    if (p.mode == Mode::scaled) a.min_scale = p.min_scale.const_data_ptr<float>();
    if (p.mode == Mode::searched_start) a.init_scale = p.init_scale.const_data_ptr<float>();
  }
  CodesOut codes;
  codes.codes = static_cast<uint8_t*>(make({p.out, in}, at::kByte));
  codes.scale = make({n}, torch_type(p.formula.scale));
  if (!p.formula.sym) codes.zero_point = static_cast<float*>(make({n}, at::kFloat));
  EXPECT_TRUE(k.quantize(a, codes, 0, n));
  for (const Dtype out_dtype : kDtypes) {
    const float offset = static_cast<float>(1 << (p.formula.bits - 1));
    k.dequantize({p.groups, codes.codes, codes.scale, p.formula.scale, codes.zero_point, offset,
                  make({p.out, in}, torch_type(out_dtype)), out_dtype},
                 0, n);
  }
  void *const min = make({n}, weight_type), *const max = make({n}, weight_type);
  EXPECT_TRUE(k.group_range(a.weight, p.formula.weight, p.groups, 0, n, min, max));
  a.weight_min = min;
  a.weight_max = max;
  for (const Dtype out_dtype : kDtypes) k.fake_quant(a, make({p.out, in}, torch_type(out_dtype)), out_dtype, 0, n);
  BackwardArgs b;
  b.grad_out = p.grad.const_data_ptr();
  b.grad_dtype = p.grad.scalar_type() == at::kFloat ? Dtype::f32 : Dtype::bf16;
  b.grad_v = static_cast<float*>(make({n, p.groups.group}, at::kFloat));
  if (p.mode == Mode::scaled) b.grad_min_scale = static_cast<float*>(make({n}, at::kFloat));
  if (p.mode != Mode::rtn) b.grad_max_scale = static_cast<float*>(make({n}, at::kFloat));
  for (const bool accumulate : {false, true}) {
    b.accumulate_v = b.accumulate_scale = accumulate;
    k.backward(a, b, 0, n);
  }
  if (p.formula.sym && p.formula.scale == Dtype::f16 && p.mode != Mode::searched_start) {
    std::vector<float> scratch(static_cast<size_t>(2 * ((p.groups.group + 15) / 16 * 16)));
    SearchArgs s{p.formula.bits, p.formula.weight, p.groups, a.weight};
    s.imatrix = p.mode == Mode::scaled ? p.imatrix.const_data_ptr<float>() : nullptr;
    s.repair = true;
    s.scratch = scratch.data();
    s.scale = static_cast<float*>(make({n}, at::kFloat));
    k.search(s, 0, n);
  }
  return results;
}

// Number of bytes that differ; any NaN counts through its bits.
int64_t different_bytes(const at::Tensor& a, const at::Tensor& b) {
  return (a.flatten().view(at::kByte) != b.flatten().view(at::kByte)).sum().item<int64_t>();
}

class IntKernels : public ::testing::TestWithParam<const Kernels*> {};

TEST_P(IntKernels, GiveTheBitsOfTheReference) {
  const Kernels& fast = *GetParam();
  if (!cpu_runs(fast)) GTEST_SKIP() << "SKIPPED: needs a CPU with " << fast.name;
  at::manual_seed(11);
  for (const Dtype weight : kDtypes)
    for (const Dtype scale : kDtypes)
      for (const bool sym : {true, false})
        for (const int bits : {2, 3, 4, 5, 6, 7, 8})
          for (const int64_t group :
               {16, 32, 37, 48, 200})  // 37 and 48 leave a short last group, 200 is longer than the row
            for (const Mode mode : {Mode::rtn, Mode::scaled, Mode::searched_start}) {
              if (mode == Mode::searched_start && !sym) continue;
              const Problem p = make_problem({bits, sym, weight, scale}, group, mode);
              const std::vector<at::Tensor> expected = run(kernels_ref, p), actual = run(fast, p);
              ASSERT_EQ(expected.size(), actual.size());
              for (size_t i = 0; i < expected.size(); ++i)
                ASSERT_EQ(different_bytes(expected[i], actual[i]), 0)
                    << "output " << i << ": weight dtype " << static_cast<int>(weight) << " scale dtype "
                    << static_cast<int>(scale) << (sym ? " sym " : " asym ") << bits << " bits, group " << group
                    << ", mode " << static_cast<int>(mode);
            }
}

TEST_P(IntKernels, GiveTheBitsOfTheReferenceForEveryScaleRule) {
  const Kernels& fast = *GetParam();
  if (!cpu_runs(fast)) GTEST_SKIP() << "SKIPPED: needs a CPU with " << fast.name;
  at::manual_seed(13);
  for (const ScaleRule rule : {ScaleRule::gptq, ScaleRule::power_of_two})
    for (const Dtype weight : kDtypes)
      for (const Dtype scale : kDtypes)
        for (const int bits : {2, 4, 8})
          for (const int64_t group : {37, 200})
            for (const Mode mode : {Mode::rtn, Mode::scaled}) {
              const Problem p = make_problem({bits, true, weight, scale, rule}, group, mode);
              const std::vector<at::Tensor> expected = run(kernels_ref, p), actual = run(fast, p);
              for (size_t i = 0; i < expected.size(); ++i)
                ASSERT_EQ(different_bytes(expected[i], actual[i]), 0)
                    << "output " << i << ": rule " << static_cast<int>(rule) << " weight dtype "
                    << static_cast<int>(weight) << " scale dtype " << static_cast<int>(scale) << ' ' << bits
                    << " bits, group " << group << ", mode " << static_cast<int>(mode);
            }
}

// Scales, then zero points of asymmetric weights.
std::vector<at::Tensor> run_neuqi(const Kernels& k, const Problem& p, bool weighted) {
  const int64_t n = p.total();
  const at::Tensor coarse = at::logspace(-0.6, p.formula.sym ? 0.3 : 0.0, 9, 10.0, at::kFloat);
  const at::Tensor fine = at::arange(1, 5, at::kFloat).div_(5);
  std::vector<at::Tensor> results{at::full({n}, 3, at::kFloat)};
  if (!p.formula.sym) results.push_back(at::full({n}, 3, at::kFloat));
  std::vector<float> scratch(static_cast<size_t>(3 * ((p.groups.group + 15) / 16 * 16)));
  NeuqiArgs a;
  a.bits = p.formula.bits;
  a.sym = p.formula.sym;
  a.weight_dtype = p.formula.weight;
  a.groups = p.groups;
  a.weight = p.weight.const_data_ptr();
  a.imatrix = weighted ? p.imatrix.const_data_ptr<float>() : nullptr;
  a.repair = true;
  a.scratch = scratch.data();
  a.grid = {coarse.const_data_ptr<float>(), fine.const_data_ptr<float>(), 9, 4};
  a.scale = results[0].mutable_data_ptr<float>();
  if (!a.sym) a.zero_point = results[1].mutable_data_ptr<float>();
  k.neuqi(a, 0, n);
  return results;
}

// The reference tries every candidate, the fast kernels leave out what cannot win. Beside the rows of every problem: a
// row that a grid holds exactly, with ties everywhere, and one with a single value.
TEST_P(IntKernels, FindTheNeuqiGridsOfTheReference) {
  const Kernels& fast = *GetParam();
  if (!cpu_runs(fast)) GTEST_SKIP() << "SKIPPED: needs a CPU with " << fast.name;
  at::manual_seed(17);
  for (const Dtype weight : kDtypes)
    for (const bool sym : {true, false})
      for (const int bits : {2, 3, 4, 8})
        for (const int64_t group : {1, 16, 37, 64, 200})
          for (const bool weighted : {false, true}) {
            Problem p = make_problem({bits, sym, weight, Dtype::f16}, group, Mode::rtn);
            const at::Tensor exact = at::randint(-8, 8, {1, 160}).div(16), constant = at::full({1, 160}, 0.1);
            p.weight = at::cat({p.weight, exact.to(p.weight.dtype()), constant.to(p.weight.dtype())});
            p.out = 7;
            const std::vector<at::Tensor> expected = run_neuqi(kernels_ref, p, weighted),
                                          actual = run_neuqi(fast, p, weighted);
            for (size_t i = 0; i < expected.size(); ++i)
              ASSERT_EQ(different_bytes(expected[i], actual[i]), 0)
                  << (i == 0 ? "scale" : "zero point") << ": weight dtype " << static_cast<int>(weight)
                  << (sym ? " sym " : " asym ") << bits << " bits, group " << group << (weighted ? " weighted" : "");
          }
}

TEST_P(IntKernels, WorkOnAnyRangeOfGroups) {
  const Kernels& fast = *GetParam();
  if (!cpu_runs(fast)) GTEST_SKIP() << "SKIPPED: needs a CPU with " << fast.name;
  const Problem p = make_problem({4, false, Dtype::bf16, Dtype::f16}, 48, Mode::rtn);
  const int64_t n = p.total(), in = p.groups.in;
  WeightArgs a;
  a.formula = p.formula;
  a.groups = p.groups;
  a.weight = p.weight.const_data_ptr();
  const at::Tensor whole = at::zeros({p.out, in}, at::kByte), parts = at::zeros_like(whole);
  const at::Tensor scale = at::zeros({n}, at::kHalf), zp = at::zeros({n});
  EXPECT_TRUE(fast.quantize(
      a, {whole.mutable_data_ptr<uint8_t>(), scale.mutable_data_ptr(), zp.mutable_data_ptr<float>()}, 0, n));
  for (int64_t i = 0; i < n; ++i)
    EXPECT_TRUE(fast.quantize(
        a, {parts.mutable_data_ptr<uint8_t>(), scale.mutable_data_ptr(), zp.mutable_data_ptr<float>()}, i, i + 1));
  EXPECT_TRUE(at::equal(whole, parts));
}

TEST_P(IntKernels, NoticeNaNAndInfinityWhereverTheyAre) {
  const Kernels& k = *GetParam();
  if (!cpu_runs(k)) GTEST_SKIP() << "SKIPPED: needs a CPU with " << k.name;
  for (const float poison : {NAN, INFINITY, -INFINITY})
    for (const int64_t at : {0, 15, 16, 39, 40, 79}) {
      at::Tensor w = at::randn({2, 40}).to(at::kBFloat16);
      w.view({-1})[at] = poison;
      const at::Tensor min = at::empty({4}, at::kBFloat16), max = at::empty({4}, at::kBFloat16);
      EXPECT_FALSE(k.group_range(w.const_data_ptr(), Dtype::bf16, {40, 32, 2}, 0, 4, min.mutable_data_ptr(),
                                 max.mutable_data_ptr()));
    }
}

INSTANTIATE_TEST_SUITE_P(All, IntKernels, ::testing::Values(&kernels_baseline, &kernels_avx2, &kernels_avx512),
                         [](const auto& info) { return std::string(info.param->name); });

TEST(IntKernelsDispatch, ChoosesSomethingThisCpuRuns) {
  EXPECT_TRUE(cpu_runs(kernels()));
  EXPECT_NE(&kernels(), &kernels_ref);
}

}  // namespace
}  // namespace arkit::int_scheme
