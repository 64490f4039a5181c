// The plugin as arkit sees it. The suite asks what every backend must do; the test below has numbers worked out by hand.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/inference_backend.h>
#include <arkit/registry.h>
#include <arkit/scheme.h>
#include <arkit/sdk/conformance/backend_suite.h>
#include <arkit/sdk/testing.h>

namespace {

arkit::InferenceBackend& sample_plugin() {
  static const arkit::Registry registry({{PLUGIN_FILE}, {}});
  return registry.backend("sample_plugin");
}

arkit::conformance::BackendCase layer(const std::string& name, int64_t out, int64_t in, bool bias) {
  at::manual_seed(7);
  arkit::conformance::BackendCase c;
  c.name = name;
  c.backend = sample_plugin;
  c.spec = {.name = "model.layers.0.mlp.up_proj", .packing = "any", .out_features = out, .in_features = in, .has_bias = bias};
  c.weight = at::randn({out, in});
  if (bias) c.packed["bias"] = at::randn({out});
  return c;
}

}  // namespace

namespace arkit::conformance {
INSTANTIATE_TEST_SUITE_P(SamplePlugin, BackendSuite,
                         testing::Values(layer("plain", 48, 32, false), layer("odd", 7, 33, true)), backend_case_name);
}

TEST(SamplePlugin, MultipliesWithTheExactWeightAndAddsTheBias) {
  const arkit::LayerWeights weights{
      .spec = {.name = "l", .packing = "any", .out_features = 2, .in_features = 3, .has_bias = true},
      .packed = {{"bias", at::tensor({10.0F, 20.0F})}},
      .codes = nullptr,
      .dequantized = [](at::ScalarType dtype) { return at::arange(6, at::kFloat).reshape({2, 3}).to(dtype); }};
  const auto linear = sample_plugin().make_linear(weights, 0, at::kFloat);

  const at::Tensor y = linear->forward(at::tensor({1.0F, 2.0F, 3.0F}).reshape({1, 1, 3}));  // [[0 1 2] [3 4 5]] x + b
  EXPECT_TRUE(arkit::sdk::close(y, at::tensor({18.0F, 46.0F}).reshape({1, 1, 2}), 1e-6));
  EXPECT_EQ(linear->bytes(), 8 * 4);
}

TEST(SamplePlugin, RefusesRotations) {
  arkit::LinearSpec spec{.name = "l", .out_features = 2, .in_features = 3};
  EXPECT_TRUE(sample_plugin().supports(spec));
  spec.quant.rotation = "hadamard";
  EXPECT_NE(sample_plugin().supports(spec).why_not, "");
}
