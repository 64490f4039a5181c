#pragma once
// What every InferenceBackend must do with a packed layer. A backend's test instantiates it with layers it supports:
//
//   INSTANTIATE_TEST_SUITE_P(Torch, BackendSuite, testing::ValuesIn(cases), arkit::conformance::backend_case_name);

#include <ostream>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/error.h>
#include <arkit/inference_backend.h>
#include <arkit/sdk/testing.h>

namespace arkit::conformance {

struct BackendCase {
  std::string name;
  InferenceBackend& (*backend)();
  LinearSpec spec;
  TensorMap packed;                 // as the format stores them, `bias` among them
  at::Tensor weight;                // f32 [out, in]: what the packed tensors stand for, exactly
  double atol = 1e-4, rtol = 1e-4;  // f32; bf16 is held to 2 ulp of the largest output
};
inline std::ostream& operator<<(std::ostream& out, const BackendCase& c) {
  return out << c.name;
}
inline std::string backend_case_name(const testing::TestParamInfo<BackendCase>& info) {
  return info.param.name;
}

class BackendSuite : public testing::TestWithParam<BackendCase> {
 protected:
  void SetUp() override {
    const Availability here = GetParam().backend().probe(host_info());
    if (here.score <= 0) GTEST_SKIP() << "needs another machine: " << here.why_not;
    ASSERT_TRUE(GetParam().backend().supports(GetParam().spec))
        << GetParam().backend().supports(GetParam().spec).why_not;
  }

  std::unique_ptr<QuantLinear> make(at::ScalarType compute) {
    // Clones that die here: a backend must not keep views of what it was lent.
    TensorMap packed;
    for (const auto& [suffix, tensor] : GetParam().packed) packed[suffix] = tensor.clone();
    const auto dequantized = [this](at::ScalarType dtype) {
      ++dequantized_calls_;
      return GetParam().weight.to(dtype);
    };
    auto linear = GetParam().backend().make_linear(GetParam().spec, packed, dequantized, compute);
    for (auto& [suffix, tensor] : packed) tensor.zero_();
    return linear;
  }
  at::Tensor expected(const at::Tensor& x) const {
    const auto bias = GetParam().packed.find("bias");
    const at::Tensor b = bias == GetParam().packed.end() ? at::Tensor() : bias->second.to(at::kFloat);
    return at::linear(x.to(at::kFloat), GetParam().weight, b);
  }

  int dequantized_calls_ = 0;
};

TEST_P(BackendSuite, MultipliesByTheExactWeight) {
  at::manual_seed(1);
  const std::unique_ptr<QuantLinear> linear = make(at::kFloat);
  const int64_t in = GetParam().spec.in_features;
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{in}, {1, in}, {7, in}, {2, 3, in}}) {
    const at::Tensor x = at::randn(shape), y = linear->forward(x);
    EXPECT_EQ(y.scalar_type(), at::kFloat);
    EXPECT_TRUE(sdk::close(y, expected(x), GetParam().atol, GetParam().rtol)) << "x " << x.sizes();
  }
  EXPECT_LE(dequantized_calls_, 1);
  EXPECT_GT(linear->bytes(), 0);
}

TEST_P(BackendSuite, AnswersInTheDtypeOfTheInput) {
  at::manual_seed(2);
  const std::unique_ptr<QuantLinear> linear = make(at::kBFloat16);
  const at::Tensor x = at::randn({5, GetParam().spec.in_features}).to(at::kBFloat16), y = linear->forward(x);
  EXPECT_EQ(y.scalar_type(), at::kBFloat16);
  const at::Tensor wanted = expected(x);
  const double ulp = wanted.abs().max().item<double>() / 128;
  EXPECT_TRUE(sdk::close(y, wanted, 2 * ulp));
}

TEST_P(BackendSuite, RefusalsHaveReasons) {
  LinearSpec strange = GetParam().spec;
  strange.quant.rotation = "no-such-rotation";
  const Verdict verdict = GetParam().backend().supports(strange);
  EXPECT_FALSE(verdict);
  EXPECT_NE(verdict.why_not.find(strange.name), std::string::npos) << "a reason names the layer: " << verdict.why_not;
}

}  // namespace arkit::conformance
