#include <gtest/gtest.h>

#include "conformance/backend_suite.h"
#include "inference/backend_choice.h"
#include "inference/support.h"

namespace arkit::conformance {
namespace {

InferenceBackend& torch_backend() {
  return tests::registry().backend("torch");
}

BackendCase layer(const std::string& name, int64_t out, int64_t in, bool bias) {
  at::manual_seed(7);
  BackendCase c;
  c.name = name;
  c.backend = torch_backend;
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

INSTANTIATE_TEST_SUITE_P(Torch, BackendSuite,
                         testing::Values(layer("plain", 48, 32, false), layer("bias", 24, 64, true),
                                         layer("odd", 7, 33, true)),
                         backend_case_name);

TEST(TorchBackend, RefusesWhatNeedsAKernel) {
  LinearSpec spec = layer("x", 8, 8, false).spec;
  spec.quant.rotation = "hadamard";
  EXPECT_FALSE(torch_backend().supports(spec));
  spec.quant.rotation.clear();
  // The engine rounds activations before a backend sees them, with scales made at run time or read from the export.
  spec.quant.act = {.data_type = "fp", .bits = 8, .dynamic = false};
  EXPECT_TRUE(torch_backend().supports(spec));
}

TEST(TorchBackend, MissingBiasIsAnError) {
  const LinearSpec spec = layer("x", 8, 8, true).spec;
  const auto dequantized = [](at::ScalarType dtype) { return at::zeros({8, 8}, dtype); };
  EXPECT_THROW((void)torch_backend().make_linear(spec, {}, dequantized, at::kFloat), Error);
}

TEST(BackendChoice, TakesTheBestAndKeepsReasons) {
  LinearSpec spec = layer("x", 8, 8, false).spec;
  EXPECT_NE(choose_backend(spec, tests::registry(), "").backend, nullptr);
  EXPECT_EQ(choose_backend(spec, tests::registry(), "torch").backend, &torch_backend());
  EXPECT_THROW((void)choose_backend(spec, tests::registry(), "tortch"), Error);
  spec.quant.rotation = "hadamard";
  const BackendChoice none = choose_backend(spec, tests::registry(), "torch");
  EXPECT_EQ(none.backend, nullptr);
  ASSERT_EQ(none.refusals.size(), 1U);
  EXPECT_NE(none.refusals[0].find("torch: "), std::string::npos);
  EXPECT_NE(none.refusals[0].find("hadamard"), std::string::npos);
}

}  // namespace
}  // namespace arkit::conformance
