// Both libraries against LibTorch's float product, in both dtypes. On a CPU without bf16 instructions oneDNN emulates.
#include "tuning/gemm.h"

#include <tuple>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <arkit/inference_backend.h>

#include "tuning/vectors.h"

namespace arkit::test {
namespace {

struct Case {
  GemmLibrary library;
  at::ScalarType dtype;
};

class Gemm : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    use_gemm_library(GetParam().library);
    if (gemm_library_for(GetParam().dtype) != GetParam().library)
      GTEST_SKIP() << "needs libarkit_onednn.so (libdnnl-dev), and AVX-512 for bf16";
    at::manual_seed(7);
  }
  void TearDown() override { use_gemm_library(GemmLibrary::automatic); }

  static at::Tensor random(at::IntArrayRef sizes) { return at::randn(sizes).to(GetParam().dtype); }
  // Results are rounded to the dtype once; inputs are the same.
  static double tolerance() { return GetParam().dtype == at::kFloat ? 1e-4 : 0.1; }
};

TEST_P(Gemm, ForwardIsXTimesWTransposedPlusBias) {
  const at::Tensor x = random({37, 48}), w = random({20, 48}), bias = random({20});
  const at::Tensor expected = at::mm(x.to(at::kFloat), w.to(at::kFloat).t());
  EXPECT_TRUE(all_close(linear_forward(x, w, {}), expected, tolerance()));
  EXPECT_TRUE(all_close(linear_forward(x, w, bias), expected + bias.to(at::kFloat), tolerance()));
}

TEST_P(Gemm, InputGradientIsDyTimesW) {
  const at::Tensor dy = random({37, 20}), w = random({20, 48});
  EXPECT_TRUE(all_close(linear_input_gradient(dy, w), at::mm(dy.to(at::kFloat), w.to(at::kFloat)), tolerance()));
}

TEST_P(Gemm, WeightGradientIsFloatAndReplacesTheBuffer) {
  const at::Tensor dy = random({37, 20}), x = random({37, 48});
  at::Tensor dw = at::full({20, 48}, 9.0F);
  linear_weight_gradient(dy, x, dw);
  EXPECT_TRUE(all_close(dw, at::mm(dy.to(at::kFloat).t(), x.to(at::kFloat)), 1e-4));
}

// Sizes with and without strips of 256, on both sides of the product.
TEST_P(Gemm, FixedOrderDoesNotDependOnThreads) {
  const int threads = at::get_num_threads();
  at::globalContext().setDeterministicAlgorithms(true, true);
  for (const auto& [m, n, k] : {std::tuple{600, 300, 900}, std::tuple{40, 700, 2000}, std::tuple{32, 48, 4000}}) {
    const at::Tensor x = random({m, k}), w = random({n, k}), dy = random({m, n});
    at::Tensor forward, back, gradient;
    for (const int count : {1, 2, 3, 8}) {
      at::set_num_threads(count);
      const at::Tensor y = linear_forward(x, w, {}), dx = linear_input_gradient(dy, w);
      at::Tensor dw = at::empty({n, k}, at::kFloat);
      linear_weight_gradient(dy, x, dw);
      EXPECT_EQ(at::get_num_threads(), count);
      if (count > 1) {
        EXPECT_TRUE(at::equal(y, forward)) << m << " " << n << " " << k << ", " << count << " threads";
        EXPECT_TRUE(at::equal(dx, back)) << m << " " << n << " " << k << ", " << count << " threads";
        EXPECT_TRUE(at::equal(dw, gradient)) << m << " " << n << " " << k << ", " << count << " threads";
      }
      forward = y;
      back = dx;
      gradient = dw;
    }
    const at::Tensor exact = at::mm(x.to(at::kDouble), w.to(at::kDouble).t());
    const double relative = GetParam().dtype == at::kFloat ? 1e-5 : 0x1p-7;
    EXPECT_TRUE(((forward - exact).abs() <= exact.abs() * relative + 1e-2).all().item<bool>());
  }
  at::globalContext().setDeterministicAlgorithms(false, true);
  at::set_num_threads(threads);
}

// What a CPU without the instruction does: f32 sums of bf16 inputs, rounded once.
TEST_P(Gemm, Bfloat16IsSummedInFloat32AndRoundedOnce) {
  if (GetParam().dtype != at::kBFloat16) return;
  const at::Tensor x = random({64, 512}), w = random({64, 512});
  const at::Tensor exact = at::mm(x.to(at::kDouble), w.to(at::kDouble).t());
  const at::Tensor error = (linear_forward(x, w, {}).to(at::kDouble) - exact).abs();
  EXPECT_TRUE((error <= exact.abs() * 0x1.02p-8 + 1e-3).all().item<bool>());
}

INSTANTIATE_TEST_SUITE_P(Libraries, Gemm,
                         ::testing::Values(Case{GemmLibrary::torch, at::kFloat},
                                           Case{GemmLibrary::torch, at::kBFloat16},
                                           Case{GemmLibrary::onednn, at::kFloat},
                                           Case{GemmLibrary::onednn, at::kBFloat16}));

TEST(GemmChoice, IsMadeByTheCpu) {
  const HostInfo& host = host_info();
  EXPECT_GE(host.threads, 1);
  EXPECT_FALSE(host.cpu_name.empty());
  const bool bf16 = host.avx512_bf16 || host.amx_bf16;
  if (!bf16) EXPECT_EQ(gemm_library_for(at::kBFloat16), GemmLibrary::torch);
  EXPECT_EQ(gemm_library_for(at::kDouble), GemmLibrary::torch);
}

}  // namespace
}  // namespace arkit::test
