#include <gtest/gtest.h>

#include "conformance/backend_suite.h"
#include "inference/backend_choice.h"
#include "inference/support.h"

namespace arkit::conformance {
namespace {

InferenceBackend& torch_backend() {
  return tests::registry().backend("torch");
}

INSTANTIATE_TEST_SUITE_P(Torch, BackendSuite,
                         testing::Values(random_layer(torch_backend, "plain", 48, 32, false),
                                         random_layer(torch_backend, "bias", 24, 64, true),
                                         random_layer(torch_backend, "odd", 7, 33, true)),
                         backend_case_name);

TEST(TorchBackend, RefusesWhatNeedsAKernel) {
  LinearSpec spec = random_layer(torch_backend, "x", 8, 8, false).spec;
  spec.quant.rotation = "hadamard";
  EXPECT_FALSE(torch_backend().supports(spec));
  spec.quant.rotation.clear();
  // The engine rounds activations before a backend sees them, with scales made at run time or read from the export.
  spec.quant.act = {.data_type = "fp", .bits = 8, .dynamic = false};
  EXPECT_TRUE(torch_backend().supports(spec));
}

TEST(TorchBackend, MissingBiasIsAnError) {
  const LayerWeights weights{.spec = random_layer(torch_backend, "x", 8, 8, true).spec,
                             .dequantized = [](at::ScalarType dtype) {
                               return at::zeros({8, 8}, dtype);
                             }};
  try {
    (void)torch_backend().make_linear(weights, 0, at::kFloat);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::input);
    EXPECT_NE(std::string(error.what()).find("'model.layers.0.mlp.up_proj' has no bias tensor"), std::string::npos)
        << error.what();
  }
}

// What arkit could not give ends as it began: the backend only hands on that there was something.
TEST(TorchBackend, AnErrorOfTheWeightsKeepsItsCodeAndWords) {
  const LayerWeights weights{.spec = random_layer(torch_backend, "x", 8, 8, false).spec,
                             .dequantized = [](at::ScalarType) -> at::Tensor { throw_input("codes are damaged"); }};
  try {
    (void)torch_backend().make_linear(weights, 0, at::kFloat);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::input);
    EXPECT_STREQ(error.what(), "codes are damaged");
  }
}

TEST(TorchBackend, KeepsTheWeightItWasGivenWithoutACopy) {
  const at::Tensor weight = at::ones({8, 8});
  const LayerWeights weights{.spec = random_layer(torch_backend, "x", 8, 8, false).spec,
                             .dequantized = [&](at::ScalarType) { return weight; }};
  const auto linear = torch_backend().make_linear(weights, 0, at::kFloat);
  EXPECT_EQ(weight.use_count(), 2U);
  EXPECT_EQ(linear->bytes(), 8 * 8 * 4);
}

TEST(BackendChoice, TakesTheBestAndKeepsReasons) {
  LinearSpec spec = random_layer(torch_backend, "x", 8, 8, false).spec;
  EXPECT_NE(BackendChooser(tests::registry(), {""}).choose(spec).backend, nullptr);
  EXPECT_EQ(BackendChooser(tests::registry(), {"torch"}).choose(spec).backend, &torch_backend());
  EXPECT_THROW((void)BackendChooser(tests::registry(), {"tortch"}).choose(spec), Error);
  spec.quant.rotation = "hadamard";
  const BackendChoice none = BackendChooser(tests::registry(), {"torch"}).choose(spec);
  EXPECT_EQ(none.backend, nullptr);
  ASSERT_EQ(none.refusals().size(), 1U);
  EXPECT_NE(none.refusals()[0].find("torch: "), std::string::npos);
  EXPECT_NE(none.refusals()[0].find("hadamard"), std::string::npos);
}

}  // namespace
}  // namespace arkit::conformance
