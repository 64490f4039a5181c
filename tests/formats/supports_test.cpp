#include <gtest/gtest.h>

#include "formats/tiny_export.h"

namespace arkit::test {
namespace {

LayerPlan layer_of(int bits, bool sym, int64_t out = 64, int64_t in = 128, int64_t group_size = 64) {
  LayerPlan layer{.name = "model.layers.0.mlp.up_proj", .out_features = out, .in_features = in, .block = 0};
  layer.quant.weight = {.bits = bits, .group_size = group_size, .sym = sym};
  return layer;
}

std::string why_not(const std::string& name, const LayerPlan& layer) {
  return exporter_named(name).supports(layer, name).why_not;
}

// docs/spec/export-folder.md 1: symmetric 5 to 7 bits are written.
TEST(Supports, IsTheMatrixOfTheSpecification) {
  for (int bits = 2; bits <= 8; ++bits) {
    for (const bool sym : {true, false}) {
      const LayerPlan layer = layer_of(bits, sym);
      const bool gptq_bits = bits == 2 || bits == 3 || bits == 4 || bits == 8;
      EXPECT_EQ(why_not("auto_round", layer), "") << bits << sym;
      EXPECT_EQ(why_not("auto_round:auto_gptq", layer), "") << bits << sym;
      EXPECT_EQ(why_not("auto_round:gptqmodel", layer), "") << bits << sym;
      EXPECT_EQ(why_not("auto_round:auto_awq", layer).empty(), bits >= 4 && bits <= 7) << bits << sym;
      EXPECT_EQ(why_not("auto_gptq", layer).empty(), gptq_bits) << bits << sym;
      EXPECT_EQ(why_not("auto_awq", layer).empty(), bits == 4) << bits << sym;
      EXPECT_EQ(why_not("llm_compressor", layer), "") << bits << sym;
      EXPECT_EQ(why_not("mlx", layer).empty(), bits != 7) << bits << sym;
      EXPECT_EQ(why_not("auto_round:mlx", layer).empty(), bits != 7) << bits << sym;
      EXPECT_NE(why_not("fp8", layer), "") << bits << sym;
      EXPECT_NE(why_not("auto_round:fp8", layer), "") << bits << sym;
      EXPECT_EQ(why_not("fake", layer), "") << bits << sym;
    }
  }
}

TEST(Supports, ShapesThatDoNotFillWordsAreRefused) {
  EXPECT_NE(why_not("auto_gptq", layer_of(4, true, 40, 128)).find("[40, 128]"), std::string::npos);
  EXPECT_NE(why_not("auto_round", layer_of(4, true, 64, 100)).find("multiple of 32"), std::string::npos);
  EXPECT_EQ(why_not("auto_awq", layer_of(4, true, 40, 100, -1)), "") << "AWQ needs only outputs that fill a word";
  EXPECT_NE(why_not("auto_awq", layer_of(4, true, 36, 128)), "");
  EXPECT_NE(why_not("auto_awq", layer_of(4, true, 64, 96, 64)).find("group_size 64"), std::string::npos);
  EXPECT_EQ(why_not("auto_gptq", layer_of(4, true, 64, 96, 64)), "") << "GPTQ's last group may be short";
}

TEST(Supports, CompressedTensorsFillsWordsUpButNotGroups) {
  EXPECT_EQ(why_not("llm_compressor", layer_of(3, false, 33, 100, -1)), "");
  EXPECT_NE(why_not("llm_compressor", layer_of(4, true, 64, 100, 64)).find("group_size 64"), std::string::npos);
  LayerPlan w4a4 = layer_of(4, true);
  w4a4.quant.act = {.data_type = "int", .bits = 4, .group_size = -1};
  EXPECT_NE(why_not("llm_compressor", w4a4).find("W4A4"), std::string::npos);
}

TEST(Supports, OtherNumberFormatsAreRefusedWithAnAlternative) {
  LayerPlan mx = layer_of(4, true);
  mx.quant.weight.data_type = "mx_fp";
  EXPECT_NE(why_not("auto_round", mx).find("'mx_fp'"), std::string::npos);
  LayerPlan act = layer_of(8, true);
  act.quant.act.bits = 8;
  EXPECT_NE(why_not("auto_gptq", act).find("fake"), std::string::npos);
  EXPECT_EQ(why_not("fake", act), "");
  LayerPlan super = layer_of(4, false);
  super.quant.weight.super_bits = 6;
  EXPECT_NE(why_not("auto_awq", super).find("gguf"), std::string::npos);
  EXPECT_NE(why_not("auto_round", layer_of(4, true, 64, 128, 0)), "");
  LayerPlan block = layer_of(8, true);
  block.quant.weight.block_rows = 128;
  EXPECT_NE(why_not("auto_round", block), "");
}

TEST(Supports, AwqRefusesMixedSchemes) {
  QuantPlan plan;
  plan.global.weight = {.bits = 4, .group_size = 64};
  plan.layers = {layer_of(4, true), layer_of(4, true, 64, 128, 32)};
  const Exporter& awq = format_plugins().exporter("auto_awq");
  EXPECT_NE(awq.supports_plan(plan, "auto_awq").why_not.find("one for all layers"), std::string::npos);
  plan.layers.pop_back();
  EXPECT_TRUE(awq.supports_plan(plan, "auto_awq"));
}

}  // namespace
}  // namespace arkit::test
