#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/registry.h>
#include <arkit/scheme.h>
#include <arkit/sdk/testing.h>

namespace {

const arkit::Registry& registry() {
  static const arkit::Registry registry({{PLUGIN_FILE}, {}});
  return registry;
}

const arkit::TensorQuant kGroupsOf4{.data_type = "sample_plugin", .bits = 1, .group_size = 4, .sym = true};

}  // namespace

TEST(SamplePlugin, KeepsTheSignAndTheMeanSizeOfEachGroup) {
  const arkit::Scheme& scheme = registry().scheme("sample_plugin");
  const at::Tensor weight = at::tensor({0.5F, -1.5F, 1.0F, -1.0F, 2.0F, 2.0F, -2.0F, 2.0F}).reshape({1, 8});
  const arkit::QuantizedWeight quantized = scheme.quantize_rtn(weight, kGroupsOf4, arkit::RtnMode::plain, {}, 0, {});
  const at::Tensor expected = at::tensor({1.0F, -1.0F, 1.0F, -1.0F, 2.0F, 2.0F, -2.0F, 2.0F}).reshape({1, 8});
  EXPECT_TRUE(arkit::sdk::close(scheme.dequantize(quantized, kGroupsOf4, at::kFloat), expected, 0));
}

TEST(SamplePlugin, FakeQuantizationIsDequantizeOfQuantizeAndReachesV) {
  const arkit::Scheme& scheme = registry().scheme_for("sample_plugin");
  const at::Tensor weight = at::arange(-6, 6, at::kFloat).reshape({2, 6}) / 5;  // a short last group in each row
  const std::unique_ptr<arkit::WeightTuner> tuner = scheme.tuner(weight, kGroupsOf4, {});
  at::Tensor fake = at::empty_like(weight);
  tuner->fake_quant(fake);
  const arkit::QuantizedWeight quantized = tuner->finish();
  EXPECT_TRUE(arkit::sdk::close(fake, scheme.dequantize(quantized, kGroupsOf4, at::kFloat), 1e-6));
  tuner->backward(at::ones_like(weight));
  EXPECT_GT(tuner->trainables().front().gradient.abs().sum().item<float>(), 0.0F);
}

TEST(SamplePlugin, SaysNoWithAReason) {
  arkit::LayerPlan layer{.name = "l", .out_features = 8, .in_features = 8};
  layer.quant.weight = kGroupsOf4;
  EXPECT_TRUE(registry().scheme("sample_plugin").supports(layer));
  layer.quant.weight.bits = 4;
  EXPECT_NE(registry().scheme("sample_plugin").supports(layer).why_not, "");
}
