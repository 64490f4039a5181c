#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/error.h>
#include <arkit/exporter.h>
#include <arkit/registry.h>

namespace {

arkit::LayerPlan layer_of(bool sym) {
  arkit::LayerPlan layer{.name = "l", .out_features = 3, .in_features = 10};
  layer.quant.weight = {.data_type = "int", .bits = 5, .group_size = 4, .sym = sym};  // a short last group
  return layer;
}

}  // namespace

TEST(SamplePlugin, UnpackIsTheInverseOfPack) {
  const arkit::Registry registry({{PLUGIN_FILE}, {}});
  const arkit::Exporter& exporter = registry.exporter("sample_plugin");
  const arkit::QuantPlan plan;
  const arkit::LayerPlan layer = layer_of(false);
  arkit::QuantizedWeight weight;
  weight.codes = at::arange(30, at::kByte).reshape({3, 10});
  weight.scale = (at::arange(9, at::kFloat).reshape({3, 3}) / 8).to(at::kHalf);
  weight.zero_point = at::full({3, 3}, 7.0F);
  const arkit::LayerRecord record{layer, weight, {}, {}, {}, {}};

  const arkit::TensorMap packed = exporter.pack(record, plan, "");
  const arkit::QuantizedWeight back = exporter.unpack(layer, packed, plan, "");
  EXPECT_TRUE(at::equal(back.codes, weight.codes));
  EXPECT_TRUE(at::equal(back.scale, weight.scale));
  EXPECT_TRUE(at::equal(back.zero_point, weight.zero_point));
  int64_t bytes = 0;
  for (const auto& [suffix, tensor] : packed) bytes += static_cast<int64_t>(tensor.nbytes());
  EXPECT_EQ(exporter.packed_bytes(layer, ""), bytes);

  arkit::TensorMap without = packed;
  without.erase("scale");
  EXPECT_THROW((void)exporter.unpack(layer, without, plan, ""), arkit::Error);
}

TEST(SamplePlugin, SaysNoWithAReason) {
  const arkit::Registry registry({{PLUGIN_FILE}, {}});
  arkit::LayerPlan layer = layer_of(true);
  EXPECT_TRUE(registry.exporter("sample_plugin").supports(layer, ""));
  layer.quant.weight.data_type = "mx_fp";
  EXPECT_NE(registry.exporter("sample_plugin").supports(layer, "").why_not, "");
}
