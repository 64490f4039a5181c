#pragma once
// What every backend must do with packed layers, seen through the door it stands behind. A backend's test loads it with
// a Registry and instantiates the suite with layers it supports:
//
//   INSTANTIATE_TEST_SUITE_P(Torch, BackendSuite, testing::ValuesIn(cases), arkit::conformance::backend_case_name);

#include <functional>
#include <ostream>
#include <string>
#include <thread>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/error.h>
#include <arkit/inference_backend.h>
#include <arkit/scheme.h>
#include <arkit/sdk/testing.h>

namespace arkit::conformance {

struct BackendCase {
  std::string name;
  InferenceBackend& (*backend)();
  LinearSpec spec;
  TensorMap packed;                             // as the format stores them, `bias` among them
  at::Tensor weight;                            // f32 [out, in]: what the packed tensors stand for, exactly
  std::function<QuantizedWeight()> codes = {};  // the same; empty for backends that ask for dense weights alone
  double atol = 1e-4, rtol = 1e-4;              // f32; bf16 is held to 2 ulp of the largest output
};
// A layer of random weights [out, in], the same on every call.
inline BackendCase random_layer(InferenceBackend& (*backend)(), const std::string& name, int64_t out, int64_t in,
                                bool bias) {
  at::manual_seed(7);
  BackendCase c;
  c.name = name;
  c.backend = backend;
  c.spec = {.name = "model.layers.0.mlp.up_proj",
            .packing = "any",
            .out_features = out,
            .in_features = in,
            .has_bias = bias,
            .quant = {.weight = {.bits = 4}}};
  c.weight = at::randn({out, in});
  if (bias) c.packed["bias"] = at::randn({out});
  return c;
}
inline std::ostream& operator<<(std::ostream& out, const BackendCase& c) {
  return out << c.name;
}
inline std::string backend_case_name(const testing::TestParamInfo<BackendCase>& info) {
  return info.param.name;
}

class BackendSuite : public testing::TestWithParam<BackendCase> {
 protected:
  void SetUp() override {
    const Availability here = GetParam().backend().probe();
    if (here.score <= 0) GTEST_SKIP() << "needs another machine: " << here.why_not;
    ASSERT_TRUE(GetParam().backend().supports(GetParam().spec))
        << GetParam().backend().supports(GetParam().spec).why_not;
  }

  // `count` times the same layer, fed by one input.
  std::unique_ptr<QuantLinear> make(at::ScalarType compute, size_t count = 1) {
    // Clones that die here: a backend must not keep views of what it was lent.
    std::vector<LayerWeights> layers(count);
    std::vector<const LinearSpec*> specs;
    for (LayerWeights& layer : layers) {
      layer.spec = GetParam().spec;
      for (const auto& [suffix, tensor] : GetParam().packed) layer.packed[suffix] = tensor.clone();
      layer.codes = GetParam().codes;
      layer.dequantized = [this](at::ScalarType dtype) {
        ++dequantized_calls_;
        return GetParam().weight.to(dtype, false, true);
      };
      specs.push_back(&layer.spec);
    }
    const InferenceBackend& backend = GetParam().backend();
    auto linear = backend.make_linears(layers, backend.supports_all(specs).device, compute);
    for (LayerWeights& layer : layers)
      for (auto& [suffix, tensor] : layer.packed) tensor.zero_();
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

TEST_P(BackendSuite, RunsSeveralLayersOnOneInput) {
  const std::vector<const LinearSpec*> specs(3, &GetParam().spec);
  if (const BackendVerdict verdict = GetParam().backend().supports_all(specs); !verdict) {
    EXPECT_NE(verdict.why_not, "") << "a backend that runs layers one by one says so";
    return;
  }
  at::manual_seed(3);
  const std::unique_ptr<QuantLinear> linears = make(at::kFloat, 3);
  const at::Tensor x = at::randn({4, GetParam().spec.in_features});
  const std::vector<at::Tensor> y = linears->forward_all(x);
  ASSERT_EQ(y.size(), 3U);
  for (const at::Tensor& one : y) EXPECT_TRUE(sdk::close(one, expected(x), GetParam().atol, GetParam().rtol));
}

TEST_P(BackendSuite, RunsInSeveralThreadsAtOnce) {
  const std::unique_ptr<QuantLinear> linear = make(at::kFloat);
  std::vector<at::Tensor> x, y(3);
  at::manual_seed(4);
  for (int64_t rows = 1; rows <= 3; ++rows) x.push_back(at::randn({rows, GetParam().spec.in_features}));
  std::vector<std::thread> threads;
  for (size_t i = 0; i < x.size(); ++i)
    threads.emplace_back([&, i] {
      for (int repeat = 0; repeat < 20; ++repeat) y[i] = linear->forward(x[i]);
    });
  for (std::thread& thread : threads) thread.join();
  for (size_t i = 0; i < x.size(); ++i)
    EXPECT_TRUE(sdk::close(y[i], expected(x[i]), GetParam().atol, GetParam().rtol)) << i;
}

TEST_P(BackendSuite, TakesStridedAndEmptyInputs) {
  const std::unique_ptr<QuantLinear> linear = make(at::kFloat);
  at::manual_seed(5);
  const at::Tensor wide = at::randn({3, 2 * GetParam().spec.in_features});
  const at::Tensor x = wide.narrow(1, 1, GetParam().spec.in_features);
  EXPECT_TRUE(sdk::close(linear->forward(x), expected(x), GetParam().atol, GetParam().rtol));
  const at::Tensor nothing = linear->forward(at::empty({0, GetParam().spec.in_features}));
  EXPECT_EQ(nothing.sizes(), at::IntArrayRef({0, GetParam().spec.out_features}));
}

TEST_P(BackendSuite, RefusalsHaveReasons) {
  LinearSpec strange = GetParam().spec;
  strange.quant.rotation = "no-such-rotation";
  const BackendVerdict verdict = GetParam().backend().supports(strange);
  EXPECT_FALSE(verdict);
  EXPECT_NE(verdict.why_not.find(strange.name), std::string::npos) << "a reason names the layer: " << verdict.why_not;
}

}  // namespace arkit::conformance
