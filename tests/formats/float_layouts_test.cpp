// Float weights through the formats that store them: bytes worked out by hand, pack and unpack, and folders read back.

#include <map>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/error.h>
#include <arkit/sdk/float_layouts.h>
#include <arkit/sdk/forwarding_source.h>

#include "formats/tiny_export.h"

namespace arkit::test {
namespace {

constexpr int64_t kOut = 64, kIn = 256;

struct FloatScheme {
  std::string name;
  LayerQuant quant;
};

std::vector<FloatScheme> float_schemes() {
  const auto with_act = [](TensorQuant weight, TensorQuant act) { return LayerQuant{.weight = weight, .act = act}; };
  const auto same = [](const TensorQuant& quant) { return LayerQuant{.weight = quant, .act = quant}; };
  return {
      {"MXFP4", same({.data_type = "mx_fp", .bits = 4, .group_size = 32})},
      {"MXFP8", same({.data_type = "mx_fp", .bits = 8, .group_size = 32})},
      {"MXINT4", same({.data_type = "mx_int", .bits = 4, .group_size = 32})},
      {"NVFP4", with_act({.data_type = "nv_fp", .bits = 4, .group_size = 16},
                         {.data_type = "nv_fp4_with_static_gs", .bits = 4, .group_size = 16})},
      {"NVFP4A16", {.weight = {.data_type = "nv_fp", .bits = 4, .group_size = 16}}},
      {"NVFP4_E5M3", same({.data_type = "nvfp4_v2", .bits = 4, .group_size = 16})},
      {"FPW8A16", {.weight = {.data_type = "fp", .bits = 8, .group_size = 0}}},
      {"FP8_STATIC", with_act({.data_type = "fp", .bits = 8, .group_size = -1},
                              {.data_type = "fp", .bits = 8, .group_size = 0, .dynamic = false})},
      {"FP8_DYNAMIC",
       with_act({.data_type = "fp", .bits = 8, .group_size = -1}, {.data_type = "fp", .bits = 8, .group_size = -1})},
      {"FP8_BLOCK", with_act({.data_type = "fp", .bits = 8, .group_size = 128, .block_rows = 128},
                             {.data_type = "fp", .bits = 8, .group_size = 128})},
  };
}

at::Tensor random_bytes(at::IntArrayRef shape, int64_t below) {
  return at::randint(0, below, shape, at::kLong).to(at::kByte);
}

// Finite fp8 codes: no exponent and mantissa of all ones.
at::Tensor random_fp8(at::IntArrayRef shape) {
  return random_bytes(shape, 0x7F).view(at::kFloat8_e4m3fn);
}

QuantizedWeight random_weight(const TensorQuant& quant, int64_t out, int64_t in) {
  QuantizedWeight weight;
  weight.codes = quant.bits == 8 ? random_fp8({out, in}) : random_bytes({out, in}, 16);
  if (quant.data_type == "fp") {
    const std::vector<int64_t> shape = quant.block_rows > 0 ? std::vector<int64_t>{(out + 127) / 128, (in + 127) / 128}
                                       : quant.group_size == 0 ? std::vector<int64_t>{1}
                                                               : std::vector<int64_t>{out, 1};
    weight.scale = at::rand(shape).to(at::kBFloat16).to(at::kFloat);  // survives being stored in bfloat16
    return weight;
  }
  const std::vector<int64_t> shape = {out, in / quant.group_size};
  weight.scale = quant.data_type == "nv_fp" ? random_fp8(shape) : random_bytes(shape, 255);
  if (quant.data_type == "nv_fp") weight.global_scale = at::rand({1}).add(100.0);
  return weight;
}

QuantPlan plan_of(const LayerQuant& quant, int64_t out = kOut, int64_t in = kIn) {
  QuantPlan plan;
  plan.global = quant;
  plan.block_lists = {"model.layers"};
  plan.num_blocks = 1;
  plan.layers.push_back(
      {.name = "model.layers.0.proj", .out_features = out, .in_features = in, .block = 0, .quant = quant});
  return plan;
}

bool same_bytes(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() &&
         a.contiguous().view(at::kByte).equal(b.contiguous().view(at::kByte));
}

class FloatFormats : public testing::TestWithParam<const char*> {};

TEST_P(FloatFormats, PackAndUnpackAreInverse) {
  at::manual_seed(11);
  const Exporter& exporter = exporter_named(GetParam());
  int accepted = 0;
  for (const FloatScheme& scheme : float_schemes()) {
    SCOPED_TRACE(scheme.name);
    const QuantPlan plan = plan_of(scheme.quant);
    const LayerPlan& layer = plan.layers.front();
    if (const Verdict verdict = exporter.supports(layer, GetParam()); !verdict) {
      EXPECT_GT(verdict.why_not.size(), 20U);
      continue;
    }
    ++accepted;
    const QuantizedWeight weight = random_weight(scheme.quant.weight, kOut, kIn);
    LayerRecord record{.plan = layer, .quantized = weight};
    record.act_max = at::full({1}, 7.0F);
    const TensorMap packed = exporter.pack(record, plan, GetParam());
    int64_t bytes = 0;
    for (const auto& [suffix, tensor] : packed) bytes += static_cast<int64_t>(tensor.nbytes());
    EXPECT_EQ(bytes, exporter.packed_bytes(layer, GetParam()));
    const QuantizedWeight back = exporter.unpack(layer, packed, plan, GetParam());
    EXPECT_TRUE(same_bytes(back.codes, weight.codes));
    EXPECT_EQ(back.scale.sizes(), weight.scale.sizes());
    EXPECT_TRUE(back.scale.to(at::kFloat).equal(weight.scale.to(at::kFloat)));
    if (weight.global_scale.defined()) EXPECT_TRUE(same_bytes(back.global_scale, weight.global_scale));
    const bool calibrated = !scheme.quant.act.dynamic || scheme.quant.act.data_type == "nv_fp4_with_static_gs";
    ASSERT_EQ(back.extra.contains("act_max"), scheme.quant.act.quantized() && calibrated);
    if (back.extra.contains("act_max")) EXPECT_NEAR(back.extra.at("act_max").item<double>(), 7.0, 0.05);
  }
  EXPECT_GT(accepted, 0);
}

INSTANTIATE_TEST_SUITE_P(All, FloatFormats,
                         testing::Values("auto_round", "llm_compressor", "auto_round:llm_compressor", "fp8",
                                         "auto_round:fp8"));

// docs/FORMATS.md: MXFP6 is refused before any work, and nothing turns into fake.
TEST(FloatSupports, IsTheMatrixOfTheSpecification) {
  const std::map<std::string, std::string> accepted = {
      {"auto_round", "MXFP4 MXFP8 MXINT4 NVFP4 NVFP4A16 NVFP4_E5M3 FPW8A16 FP8_STATIC FP8_BLOCK "},
      {"llm_compressor", "MXFP4 MXFP8 NVFP4 NVFP4A16 NVFP4_E5M3 FPW8A16 FP8_STATIC FP8_DYNAMIC FP8_BLOCK "},
      {"auto_round:fp8", "FP8_BLOCK "},
      {"fp8", "FP8_BLOCK "},
      {"auto_round:auto_gptq", ""},
      {"auto_gptq", ""},
      {"auto_awq", ""},
      {"mlx", ""}};
  for (const auto& [format, expected] : accepted) {
    std::string names;
    for (const FloatScheme& scheme : float_schemes())
      if (exporter_named(format).supports(plan_of(scheme.quant).layers.front(), format)) names += scheme.name + " ";
    EXPECT_EQ(names, expected) << format;
  }
  const TensorQuant mxfp6{.data_type = "mx_fp", .bits = 6, .group_size = 32};
  const QuantPlan plan = plan_of({.weight = mxfp6, .act = mxfp6});
  for (const char* format : {"auto_round", "llm_compressor"})
    EXPECT_NE(exporter_named(format).supports(plan.layers.front(), format).why_not.find("MXFP4 or MXFP8"),
              std::string::npos);
}

TEST(FloatSupports, MicroScaledRowsAreWholeGroups) {
  const TensorQuant mx{.data_type = "mx_fp", .bits = 4, .group_size = 32};
  const QuantPlan plan = plan_of({.weight = mx, .act = mx}, 64, 80);
  EXPECT_NE(exporter_named("llm_compressor").supports(plan.layers.front(), "llm_compressor").why_not.find("80"),
            std::string::npos);
}

// docs/spec/packing.md 7: the first bytes of the reference's NVFP4 and MXFP4 exports; the even element is the low
// nibble.
TEST(FloatLayout, PutsTheEvenElementInTheLowNibble) {
  const TensorQuant mx{.data_type = "mx_fp", .bits = 4, .group_size = 32};
  const QuantPlan plan = plan_of({.weight = mx, .act = mx}, 1, 32);
  QuantizedWeight weight;
  weight.codes = at::zeros({1, 32}, at::kByte);
  const std::vector<uint8_t> first = {0x6, 0xD, 0x1, 0xC, 0xA, 0xF, 0x3, 0x6};
  for (size_t i = 0; i < first.size(); ++i) weight.codes[0][static_cast<int64_t>(i)] = first[i];
  weight.scale = at::full({1, 1}, 121, at::kByte);
  const TensorMap packed =
      exporter_named("auto_round").pack({.plan = plan.layers.front(), .quantized = weight}, plan, "auto_round");
  const at::Tensor& bytes = packed.at("weight_packed");
  EXPECT_EQ(bytes[0][0].item<int>(), 0xD6);
  EXPECT_EQ(bytes[0][1].item<int>(), 0xC1);
  EXPECT_EQ(bytes[0][2].item<int>(), 0xFA);
  EXPECT_EQ(bytes[0][3].item<int>(), 0x63);
}

// Every layer of the plan with random codes of its own scheme, written and read back by whichever reader claims it.
void check_folder(const QuantPlan& plan, const ModelSource& source, const std::string& format) {
  TemporaryFolder folder("float");
  const ExportRequest request{.output_dir = folder.path(), .source = source, .plan = plan};
  const auto job = exporter_named(format).open(request, format);
  std::map<std::string, QuantizedWeight> written;
  for (const LayerPlan& layer : plan.layers) {
    if (!layer.quantized()) continue;
    QuantizedWeight& weight = written[layer.name];
    weight = random_weight(layer.quant.weight, layer.out_features, layer.in_features);
    LayerRecord record{.plan = layer, .quantized = weight};
    record.act_max = at::full({1}, 3.0F);
    job->add_layer(record);
  }
  (void)job->finish();
  const auto packed = reader_for(folder.path()).open(folder.path());
  ASSERT_EQ(sdk::packed_layers(*packed).size(), written.size());
  for (const LinearSpec& spec : sdk::packed_layers(*packed)) {
    const LayerPlan& layer = *plan.find(spec.name);
    EXPECT_EQ(spec.quant.weight.data_type, layer.quant.weight.data_type) << spec.name;
    EXPECT_EQ(spec.quant.weight.bits, layer.quant.weight.bits) << spec.name;
    EXPECT_EQ(spec.quant.weight.group_size, layer.quant.weight.group_size) << spec.name;
    EXPECT_EQ(spec.quant.weight.block_rows, layer.quant.weight.block_rows) << spec.name;
    EXPECT_EQ(spec.quant.act.bits, layer.quant.act.bits) << spec.name;
    EXPECT_EQ(spec.quant.act.dynamic, layer.quant.act.dynamic) << spec.name;
    EXPECT_EQ(spec.out_features, layer.out_features);
    EXPECT_EQ(spec.in_features, layer.in_features);
    const QuantizedWeight back = sdk::packed_of(*packed).unpack(spec.name);
    EXPECT_TRUE(same_bytes(back.codes, written.at(spec.name).codes)) << spec.name;
    EXPECT_TRUE(back.scale.to(at::kFloat).equal(written.at(spec.name).scale.to(at::kFloat))) << spec.name;
  }
}

QuantPlan tiny_plan(const ModelSource& source, const LayerQuant& quant) {
  GoldenCase golden;
  QuantPlan plan = plan_of(source, golden);
  plan.global = quant;
  for (LayerPlan& layer : plan.layers)
    if (layer.quantized()) layer.quant = quant;
  return plan;
}

TEST_P(FloatFormats, FoldersReadBack) {
  at::manual_seed(12);
  const auto source = open_hf_folder(golden_root() + "/source-llama-bf16");
  for (const FloatScheme& scheme : float_schemes()) {
    SCOPED_TRACE(scheme.name);
    const QuantPlan plan = tiny_plan(*source, scheme.quant);
    if (exporter_named(GetParam()).supports(plan.layers.front(), GetParam())) check_folder(plan, *source, GetParam());
  }
}

// docs/spec/format-compressed-tensors.md 3: layouts of all kinds in one export, each layer found in its own group.
// Powers of two may be stored by their exponents (DeepSeek-V3.1's "ue8m0"): byte b is 2^(b - 127).
TEST(FloatLayout, ReadsScalesStoredAsExponents) {
  const at::Tensor exponents = at::full({1, 1}, 130, at::kByte).view(at::ScalarType::Float8_e8m0fnu);
  const LayerQuant blocks{.weight = {.data_type = "fp", .bits = 8, .group_size = 128, .block_rows = 128}};
  const TensorMap packed{{"weight", at::ones({128, 128}).to(at::kFloat8_e4m3fn)}, {"weight_scale_inv", exponents}};
  EXPECT_EQ(sdk::decode_float(blocks, 128, 128, packed).scale.item<float>(), 8.0F);
  const LayerQuant micro{.weight = {.data_type = "mx_fp", .bits = 4, .group_size = 32}};
  const TensorMap nibbles{{"weight_packed", at::zeros({1, 16}, at::kByte)}, {"weight_scale", exponents}};
  EXPECT_EQ(sdk::decode_float(micro, 1, 32, nibbles).scale.item<int>(), 130);
}

TEST(CompressedTensors, MixesLayouts) {
  const auto source = open_hf_folder(golden_root() + "/source-llama-bf16");
  const std::vector<FloatScheme> schemes = float_schemes();
  QuantPlan plan = tiny_plan(*source, schemes.front().quant);
  plan.layers[1].quant = schemes[1].quant;  // MXFP8
  plan.layers[2].quant = schemes[3].quant;  // NVFP4
  plan.layers[3].quant = schemes[6].quant;  // FPW8A16
  plan.layers[5].quant = schemes[9].quant;  // FP8_BLOCK
  check_folder(plan, *source, "llm_compressor");
}

TEST(AutoRound, RefusesLayoutsAFileCannotMix) {
  const auto source = open_hf_folder(golden_root() + "/source-llama-bf16");
  QuantPlan plan = tiny_plan(*source, float_schemes().front().quant);
  plan.layers[1].quant.weight = {.data_type = "int", .bits = 4};
  plan.layers[1].quant.act = {.data_type = "float"};
  EXPECT_NE(exporter_named("auto_round").supports_plan(plan, "auto_round").why_not.find("llm_compressor"),
            std::string::npos);
}

}  // namespace
}  // namespace arkit::test
