#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/inference_backend.h>
#include <arkit/registry.h>
#include <arkit/sdk/testing.h>

TEST(SamplePlugin, MultipliesWithTheDequantizedWeightAndAddsTheBias) {
  const arkit::Registry registry({{PLUGIN_FILE}, {}});
  const arkit::InferenceBackend& backend = registry.backend("sample_plugin");
  EXPECT_GT(backend.probe(arkit::host_info()).score, 0);

  const at::Tensor weight = at::arange(6, at::kFloat).reshape({2, 3});  // [[0 1 2] [3 4 5]]
  const arkit::LinearSpec spec{.name = "l", .packing = "any", .out_features = 2, .in_features = 3, .has_bias = true};
  const arkit::TensorMap packed{{"bias", at::tensor({10.0F, 20.0F})}};
  const auto linear = backend.make_linear(
      spec, packed, [&](at::ScalarType dtype) { return weight.to(dtype); }, at::kFloat);

  const at::Tensor y = linear->forward(at::tensor({1.0F, 2.0F, 3.0F}).reshape({1, 1, 3}));
  EXPECT_TRUE(arkit::sdk::close(y, at::tensor({18.0F, 46.0F}).reshape({1, 1, 2}), 1e-6));
  EXPECT_EQ(linear->bytes(), 8 * 4);
}

TEST(SamplePlugin, RefusesQuantizedActivations) {
  const arkit::Registry registry({{PLUGIN_FILE}, {}});
  arkit::LinearSpec spec{.name = "l"};
  EXPECT_TRUE(registry.backend("sample_plugin").supports(spec));
  spec.quant.act.bits = 8;
  EXPECT_NE(registry.backend("sample_plugin").supports(spec).why_not, "");
}
