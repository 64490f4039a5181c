// The accounting table of docs/spec/auto-scheme.md 4, and exact bytes.
#include "autoscheme/accounting.h"

#include <arkit/model_source.h>

#include "jobs/job_testing.h"
#include "quant/scheme_resolver.h"

namespace arkit::auto_scheme {
namespace {

using arkit::testing::registry;

LayerPlan square(int64_t size = 4096) {
  LayerPlan layer;
  layer.name = "model.layers.0.self_attn.q_proj";
  layer.out_features = layer.in_features = size;
  layer.block = 0;
  return layer;
}

double counted(const std::string& scheme, std::optional<int64_t> group = {}, bool codes_only = false) {
  LayerQuant quant = resolve_preset(scheme, registry()).quant;
  if (group) quant.weight.group_size = *group;
  return static_cast<double>(autoround_bits(square(), quant.weight, codes_only)) / (4096.0 * 4096.0);
}

TEST(Bits, AreAutoRoundsTable) {
  EXPECT_DOUBLE_EQ(counted("W2A16"), 2.140625);
  EXPECT_DOUBLE_EQ(counted("W3A16"), 3.1484375);
  EXPECT_DOUBLE_EQ(counted("W4A16"), 4.15625);
  EXPECT_DOUBLE_EQ(counted("W8A16"), 8.1875);
  EXPECT_DOUBLE_EQ(counted("W2A16", 64), 2.28125);
  EXPECT_DOUBLE_EQ(counted("W4A16", 64), 4.3125);
  EXPECT_DOUBLE_EQ(counted("W8A16", 64), 8.375);
  EXPECT_DOUBLE_EQ(counted("W2A16", 32), 2.5625);
  EXPECT_DOUBLE_EQ(counted("W4A16", 32), 4.625);
  EXPECT_DOUBLE_EQ(counted("W8A16", 32), 8.75);
  EXPECT_DOUBLE_EQ(counted("MXFP4"), 4.25);
  EXPECT_DOUBLE_EQ(counted("MXFP8"), 8.25);
  EXPECT_DOUBLE_EQ(counted("MXFP8_RCEIL"), 8.25);
  EXPECT_DOUBLE_EQ(counted("NVFP4"), 4.5);
  EXPECT_DOUBLE_EQ(counted("NVFP4_E5M3"), 4.5);
  EXPECT_DOUBLE_EQ(counted("MXINT4"), 4.625);
  EXPECT_NEAR(counted("FPW8A16"), 8.000001, 5e-7);
  EXPECT_NEAR(counted("FP8_STATIC"), 8.0039, 5e-5);
  EXPECT_NEAR(counted("INT8"), 8.0059, 5e-5);
  EXPECT_DOUBLE_EQ(counted("BF16"), 16.0);
}

TEST(Bits, OfDoubleQuantizationFollowTheSuperBlocks) {
  TensorQuant k4{.data_type = "int_asym_dq", .bits = 4, .group_size = 32, .sym = false};
  k4.super_bits = 6;
  k4.super_group_size = 8;
  EXPECT_DOUBLE_EQ(static_cast<double>(autoround_bits(square(), k4)) / (4096.0 * 4096.0), 4.625);  // Q4_K
  TensorQuant k2{.data_type = "int_asym_dq", .bits = 2, .group_size = 16, .sym = false};
  k2.super_bits = 4;
  k2.super_group_size = 16;
  EXPECT_DOUBLE_EQ(static_cast<double>(autoround_bits(square(), k2)) / (4096.0 * 4096.0), 2.75);  // Q2_K
}

TEST(Bits, CodesAloneAreThePlainBits) {
  EXPECT_DOUBLE_EQ(counted("W4A16", 32, true), 4.0);
  EXPECT_DOUBLE_EQ(counted("MXFP4", {}, true), 4.0);
}

TEST(Bits, BlocksWhichTheReferenceCannotCountPayOneScaleEach) {
  EXPECT_DOUBLE_EQ(counted("FP8_BLOCK"), 8.0 + 16.0 / (128 * 128));
}

TEST(Bits, OfExactAccountingAreTheExportersBytes) {
  const auto source = open_source(testing::tiny_model("source-llama-bf16"), registry());
  const Exporter& format = registry().exporter("llm_compressor");
  const CostModel exact(Accounting::exact, format, "llm_compressor", source->weights());
  LayerPlan layer = square(256);
  layer.quant = resolve_preset("W4A16", registry()).quant;
  EXPECT_EQ(exact.bits(layer, layer.quant), 8 * format.packed_bytes(layer, "llm_compressor"));
  EXPECT_LT(exact.bits(layer, layer.quant), autoround_bits(layer, layer.quant.weight) + 8 * 64)
      << "no zero points are stored for symmetric weights";
  EXPECT_EQ(exact.bits(layer, LayerQuant{}), 256 * 256 * 16) << "a layer left alone";
  LayerPlan biased = layer;
  biased.has_bias = true;
  EXPECT_EQ(exact.bits(biased, layer.quant), exact.bits(layer, layer.quant)) << "a bias costs the same in any scheme";
}

}  // namespace
}  // namespace arkit::auto_scheme
