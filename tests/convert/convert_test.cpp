// `arkit convert`: there and back between all integer formats, the reference's exports into one another, refusals.
#include <algorithm>
#include <fstream>
#include <sstream>

#include <ATen/ATen.h>

#include <arkit/str.h>

#include "convert/convert_testing.h"
#include "formats/golden_compare.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;
using testing::contains;
using testing::converted;
using testing::make_export;
using testing::refusal;
using testing::rewrite;
using testing::TemporaryFolder;
using testing::tensor_difference;

std::string folder_of(std::string format) {
  std::replace(format.begin(), format.end(), ':', '-');
  return format;
}

// Which formats hold integers of these bits (docs/FORMATS.md).
std::vector<std::string> formats_for(int bits) {
  std::vector<std::string> formats{"auto_round", "auto_round:auto_gptq", "auto_gptq", "llm_compressor", "mlx"};
  if (bits == 4)
    formats.insert(formats.end(), {"auto_round:gptqmodel", "auto_round:auto_awq", "auto_awq", "auto_round:mlx"});
  return formats;
}

struct Recipe {
  int bits;
  bool sym;
};

class ThereAndBack : public ::testing::TestWithParam<Recipe> {};

TEST_P(ThereAndBack, EveryPairOfFormatsGivesTheSameBytes) {
  const auto [bits, sym] = GetParam();
  const std::vector<std::string> formats = formats_for(bits);
  const TemporaryFolder folder;
  make_export(folder.path() / "made", "source-llama-bf16", bits, sym, 32, formats);
  for (const std::string& a : formats) {
    const fs::path original = folder.path() / "made" / folder_of(a);
    std::vector<std::string> others;
    for (const std::string& b : formats)
      if (b != a) others.push_back(b);
    const fs::path there = folder.path() / "there" / folder_of(a);
    converted(original, there, others, true);
    for (const std::string& b : others) {
      // What the quantizer wrote in that format itself, biases aside: they keep the type they come in.
      EXPECT_EQ(test::first_tensor_difference(there / folder_of(b), folder.path() / "made" / folder_of(b),
                                              {.other_dtype = {R"(_proj\.bias$)"}}),
                "")
          << a << " to " << b;
      const fs::path back = folder.path() / "back";
      converted(there / folder_of(b), back, {a}, true);
      EXPECT_EQ(tensor_difference(original, back), "") << a << " to " << b << " and back";
      fs::remove_all(back);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Bits, ThereAndBack,
                         ::testing::Values(Recipe{2, true}, Recipe{2, false}, Recipe{3, true}, Recipe{3, false},
                                           Recipe{4, true}, Recipe{4, false}, Recipe{8, true}, Recipe{8, false}),
                         [](const auto& info) { return str("W", info.param.bits, info.param.sym ? "_sym" : "_asym"); });

struct GoldenPair {
  const char* from;
  const char* to;
  const char* format;
};

class GoldenConversion : public ::testing::TestWithParam<GoldenPair> {};

// Biases keep the type of the export they come from; everything else is the reference's own file of the other format.
TEST_P(GoldenConversion, EqualsTheReferencesExport) {
  const auto& [from, to, format] = GetParam();
  const TemporaryFolder folder;
  converted(testing::tiny_model(from), folder.path() / "out", {format}, true);
  EXPECT_EQ(test::first_tensor_difference(folder.path() / "out", testing::tiny_model(to),
                                          {.other_dtype = {R"(_proj\.bias$)"}}),
            "");
}

INSTANTIATE_TEST_SUITE_P(
    Reference, GoldenConversion,
    ::testing::Values(
        GoldenPair{"auto_round-W4A16", "auto_gptq-W4A16", "auto_gptq"},
        GoldenPair{"auto_round-W4A16", "auto_awq-W4A16", "auto_awq"},
        GoldenPair{"auto_round-W4A16", "llm_compressor-W4A16", "llm_compressor"},
        GoldenPair{"auto_round-W4A16", "mlx-W4A16", "mlx"},
        GoldenPair{"auto_round-W3A16", "auto_gptq-W3A16", "auto_gptq"},
        GoldenPair{"auto_round-W3A16", "llm_compressor-W3A16", "llm_compressor"},
        GoldenPair{"auto_gptq-W3A16G32-asym", "llm_compressor-W3A16G32-asym", "llm_compressor"},
        GoldenPair{"auto_awq-W4A16G32-asym", "auto_gptq-W4A16G32-asym", "auto_gptq"},
        GoldenPair{"auto_awq-W4A16G32-asym", "auto_round_auto_gptq-W4A16G32-asym", "auto_round:auto_gptq"},
        GoldenPair{"auto_awq-W4A16G32-asym", "auto_round_auto_awq-W4A16G32-asym", "auto_round:auto_awq"},
        GoldenPair{"auto_awq-W4A16G32-asym", "llm_compressor-W4A16G32-asym", "llm_compressor"},
        GoldenPair{"auto_awq-W4A16G32-asym", "mlx-W4A16G32-asym", "mlx"},
        GoldenPair{"auto_round_gptqmodel-W4A16G32", "auto_round_auto_awq-W4A16G32", "auto_round:auto_awq"},
        GoldenPair{"auto_round_gptqmodel-W4A16G32", "auto_round_mlx-W4A16G32", "auto_round:mlx"},
        GoldenPair{"auto_round_gptqmodel-W4A16G32", "mlx-W4A16G32", "mlx"}),
    [](const auto& info) {
      std::string name = str(info.param.from, "_to_", info.param.to);
      for (char& c : name)
        if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
      return name;
    });

// The whole folder, configuration included, where both formats are of one family.
TEST(Convert, WritesTheConfigurationOfTheReference) {
  const TemporaryFolder folder;
  converted(testing::tiny_model("auto_round-W4A16"), folder.path() / "gptq", {"auto_gptq"});
  EXPECT_EQ(test::first_difference(folder.path() / "gptq", testing::tiny_model("auto_gptq-W4A16")), "");
  converted(testing::tiny_model("mixed-auto_gptq-W4A16"), folder.path() / "mixed", {"auto_round"});
  EXPECT_EQ(test::first_tensor_difference(folder.path() / "mixed", testing::tiny_model("mixed-auto_round-W4A16")), "");
}

TEST(Convert, SaysWhatItProved) {
  const TemporaryFolder folder;
  const json::Object report =
      converted(testing::tiny_model("auto_round-W4A16"), folder.path() / "out", {"llm_compressor"});
  const json::Value& proof = report.at("proofs").at(0);
  EXPECT_EQ(proof.at("layers").to_number<int64_t>(), 14);
  EXPECT_EQ(proof.at("rounded_scales").to_number<int64_t>(), 0);
  EXPECT_TRUE(contains(std::string(proof.at("verdict").as_string()), "14 layers with equal codes and zero points"));
  const json::Value record = json::read_file(folder.path() / "out" / "arkit-run.json");
  EXPECT_TRUE(contains(std::string(record.at("converted_from").at("path").as_string()), "auto_round-W4A16"));
  EXPECT_EQ(record.at("converted_from").at("files").at(0).at("sha256").as_string().size(), 64U);
}

// The chain keeps the way back to the model everything was made from.
TEST(Convert, AConvertedExportVerifiesAgainstTheModel) {
  const TemporaryFolder folder;
  make_export(folder.path() / "a", "source-llama-bf16", 4, false, 32, {"auto_round"});
  converted(folder.path() / "a", folder.path() / "b", {"auto_gptq"});
  Reporter silent;
  const json::Object report = verify({.directory = folder.path() / "b", .against = {}}, testing::registry(), silent);
  EXPECT_TRUE(report.at("passed").as_bool()) << json::dump(report, 2);
  EXPECT_TRUE(contains(std::string(report.at("against").as_string()), "source-llama-bf16"));
}

TEST(Convert, OtherTensorsAndTextsAreTheSame) {
  const TemporaryFolder folder;
  make_export(folder.path() / "made", "source-llama-fp32", 4, true, 32, {"llm_compressor"});
  // Biases of every type stay what they are, whatever the format would write itself.
  rewrite(folder.path() / "made", folder.path() / "a", [](TensorMap& tensors) {
    at::Tensor& bias = tensors.at("model.layers.0.self_attn.o_proj.bias");
    bias = bias.mul(1e-6).to(at::kBFloat16);  // below what float16 has
  });
  converted(folder.path() / "a", folder.path() / "b", {"auto_round"});
  const auto a = open_safetensors(folder.path() / "a"), b = open_safetensors(folder.path() / "b");
  int64_t plain = 0;
  for (const TensorInfo& info : a->tensors()) {
    if (b->find(info.name) == nullptr) continue;
    EXPECT_EQ(b->find(info.name)->stored_type, info.stored_type) << info.name;
    EXPECT_TRUE(a->load(info.name).equal(b->load(info.name))) << info.name;
    ++plain;
  }
  EXPECT_EQ(plain, 7 + 8) << "embedding, head, norms, biases";
  const auto text = [&](const char* side, const char* name) {
    std::ostringstream out;
    out << std::ifstream(folder.path() / side / name).rdbuf();
    return out.str();
  };
  for (const char* name : {"tokenizer.json", "generation_config.json"}) EXPECT_EQ(text("a", name), text("b", name));
}

TEST(Convert, ASymmetricLayerOfAnAsymmetricExportGetsItsZeroPoint) {
  const TemporaryFolder folder;
  make_export(folder.path() / "a", "source-llama-bf16", 4, false, 32, {"auto_round:auto_awq"});
  // mlx does not say symmetric or not: a layer whose zero points all lie in the middle looks symmetric.
  rewrite(folder.path() / "a", folder.path() / "middle", [](TensorMap& tensors) {
    tensors.at("model.layers.0.mlp.up_proj.qzeros").fill_(static_cast<int32_t>(0x88888888U));
  });
  converted(folder.path() / "middle", folder.path() / "mlx", {"mlx"}, true);
  converted(folder.path() / "mlx", folder.path() / "awq", {"auto_awq"}, true);
  converted(folder.path() / "awq", folder.path() / "back", {"auto_round:auto_awq"});
  EXPECT_EQ(tensor_difference(folder.path() / "middle", folder.path() / "back"), "");
}

// --- what is refused, and that nothing is left behind

std::string refused(const fs::path& from, const std::string& format, ErrorCode code = ErrorCode::unsupported,
                    bool allow_rounding = false) {
  const TemporaryFolder folder;
  std::string message = refusal(code, [&] { converted(from, folder.path() / "out", {format}, allow_rounding); });
  EXPECT_FALSE(fs::exists(folder.path() / "out")) << "something was written";
  return message;
}

TEST(ConvertRefuses, WhatTheFormatHasNoBitsFor) {
  const std::string message = refused(testing::tiny_model("auto_round-W5A16-asym"), "auto_gptq");
  for (const char* part : {"model.layers.0.self_attn.q_proj", "int5 g128 asym", "2, 3, 4 and 8 bits",
                           "formats that hold it as it is", "'auto_round'", "'llm_compressor'"})
    EXPECT_TRUE(contains(message, part)) << message;
}

TEST(ConvertRefuses, OneSchemePerFileFormats) {
  const std::string message = refused(testing::tiny_model("mixed-auto_round-W4A16"), "auto_awq");
  EXPECT_TRUE(contains(message, "auto_awq")) << message;
}

TEST(ConvertRefuses, OffsetsMlxWouldRound) {
  const std::string message = refused(testing::tiny_model("auto_awq-W4A16G32-asym"), "mlx");
  for (const char* part : {"-scale * zero point", "of a step", "--allow_rounding", "'auto_gptq'"})
    EXPECT_TRUE(contains(message, part)) << message;
}

TEST(ConvertRefuses, ZeroPointsTheFormatLacks) {
  const TemporaryFolder folder;
  make_export(folder.path() / "a", "source-llama-bf16", 3, false, 32, {"llm_compressor"});
  const std::string layer = "model.layers.1.mlp.gate_proj";
  rewrite(folder.path() / "a", folder.path() / "zero",
          [&](TensorMap& tensors) { tensors.at(layer + ".weight_zero_point").zero_(); });
  const std::string message = refused(folder.path() / "zero", "auto_gptq");
  for (const std::string& part : {layer, std::string("0 would be read back as 1"), std::string("'auto_round'")})
    EXPECT_TRUE(contains(message, part)) << message;
  converted(folder.path() / "zero", folder.path() / "v2", {"auto_round"});
  // Where no code of the group is the largest, code and zero point move up together.
  rewrite(folder.path() / "zero", folder.path() / "room", [&](TensorMap& tensors) {
    at::Tensor& packed = tensors.at(layer + ".weight_packed");
    packed.bitwise_and_(at::tensor(std::vector<int64_t>{0xB6DB6DB6, 0x6DB6DB6D, 0xDB6DB6DB}, at::kLong)
                            .to(at::kInt)
                            .repeat({packed.size(1) / 3}));  // codes 0, 2, 4, 6 of 3 bits
  });
  const json::Object report = converted(folder.path() / "room", folder.path() / "v1", {"auto_gptq"});
  EXPECT_GT(report.at("proofs").at(0).at("moved_groups").to_number<int64_t>(), 0);
  EXPECT_TRUE(testing::compared(folder.path() / "room", folder.path() / "v1").at("equal").as_bool());
}

TEST(ConvertRefuses, ScalesFloat16DoesNotHave) {
  const TemporaryFolder folder;
  make_export(folder.path() / "a", "source-llama-bf16", 4, true, 32, {"llm_compressor"});
  const std::string scale = "model.layers.0.self_attn.v_proj.weight_scale";
  rewrite(folder.path() / "a", folder.path() / "exact",
          [&](TensorMap& tensors) { tensors.at(scale) = tensors.at(scale).to(at::kFloat); });
  converted(folder.path() / "exact", folder.path() / "same", {"auto_round"});
  rewrite(folder.path() / "a", folder.path() / "fine",
          [&](TensorMap& tensors) { tensors.at(scale) = tensors.at(scale).to(at::kFloat).mul(1.0001F); });
  const std::string message = refused(folder.path() / "fine", "auto_gptq");
  for (const char* part : {"v_proj", "scales would be rounded", "--allow_rounding"})
    EXPECT_TRUE(contains(message, part)) << message;
  const json::Object report = converted(folder.path() / "fine", folder.path() / "rounded", {"auto_gptq"}, true);
  const json::Value& proof = report.at("proofs").at(0);
  EXPECT_GT(proof.at("rounded_scales").to_number<int64_t>(), 0);
  EXPECT_LT(proof.at("largest_scale_error").as_double(), 0.0005);
  rewrite(folder.path() / "a", folder.path() / "huge",
          [&](TensorMap& tensors) { tensors.at(scale) = tensors.at(scale).to(at::kFloat).mul(1e9F); });
  EXPECT_TRUE(contains(refused(folder.path() / "huge", "auto_gptq", ErrorCode::unsupported, true), "too large"));
  rewrite(folder.path() / "a", folder.path() / "nan", [&](TensorMap& tensors) { tensors.at(scale)[0][0] = NAN; });
  EXPECT_TRUE(contains(refused(folder.path() / "nan", "auto_gptq", ErrorCode::input), "not finite"));
}

// Scales that are numbers, of weights that are none.
TEST(ConvertRefuses, CodesAndScalesBeyondFloat) {
  const TemporaryFolder folder;
  QuantizeOptions options{.model = testing::tiny_model("source-llama-bf16"), .output_dir = folder.path() / "a"};
  options.recipe = "rtn";
  options.scheme = "MXFP4";
  options.formats = {"llm_compressor"};
  Reporter silent;
  (void)quantize(options, testing::registry(), silent);
  converted(folder.path() / "a", folder.path() / "same", {"auto_round"});
  const std::string layer = "model.layers.0.self_attn.v_proj";
  rewrite(folder.path() / "a", folder.path() / "huge",
          [&](TensorMap& tensors) { tensors.at(layer + ".weight_scale").fill_(254); });
  const std::string message = refused(folder.path() / "huge", "auto_round", ErrorCode::input);
  EXPECT_TRUE(contains(message, layer) && contains(message, "not finite")) << message;
}

TEST(ConvertRefuses, WhatIsNoExport) {
  EXPECT_TRUE(contains(refused(testing::tiny_model("source-llama-bf16"), "auto_gptq"), "arkit quantize"));
  EXPECT_TRUE(contains(refused(testing::tiny_model("auto_round-W4A16"), "fake"), "full-size"));
  EXPECT_TRUE(contains(refused(testing::tiny_model("auto_round-W4A16"), "auto_gtpq"), "auto_gptq"));
  EXPECT_TRUE(contains(refused("/no/such/folder", "auto_gptq", ErrorCode::input), "no such file"));
}

TEST(ConvertRefuses, FoldersInUse) {
  const TemporaryFolder folder;
  const fs::path source = testing::tiny_model("auto_round-W4A16");
  converted(source, folder.path() / "out", {"auto_gptq"});
  EXPECT_TRUE(
      contains(refusal(ErrorCode::input, [&] { converted(source, folder.path() / "out", {"auto_gptq"}); }), "--force"));
  ConvertOptions options{.model = (folder.path() / "out").string(), .formats = {"auto_round"}};
  options.output_dir = folder.path() / "out";
  options.force = true;
  Reporter silent;
  EXPECT_TRUE(contains(refusal(ErrorCode::usage, [&] { (void)convert(options, testing::registry(), silent); }),
                       "the model itself"));
}

// Static scales of attention go along; one a head has another shape in each format.
TEST(Convert, StaticScalesOfAttentionAreCarriedOver) {
  for (const char* granularity : {"tensor", "head"}) {
    const TemporaryFolder folder;
    QuantizeOptions options;
    options.model = testing::tiny_model("source-llama-bf16");
    options.recipe = "rtn";
    options.scheme = "W8A16G32";
    options.output_dir = folder.path() / "made";
    options.formats = {"auto_round", "llm_compressor", "auto_gptq"};
    options.attention.kv_dtype = "fp8";
    options.attention.kv_granularity = granularity;
    options.dataset = "self";
    options.tuning.nsamples = 2;
    options.tuning.seqlen = 8;
    Reporter silent;
    const std::string message =
        testing::refusal(ErrorCode::unsupported, [&] { (void)quantize(options, testing::registry(), silent); });
    EXPECT_TRUE(testing::contains(message, "'auto_gptq' has no place for static scales")) << message;
    options.formats.pop_back();
    (void)quantize(options, testing::registry(), silent);
    const auto made = options.output_dir;
    (void)converted(made / "auto_round", folder.path() / "a", {"llm_compressor"});
    EXPECT_EQ(tensor_difference(folder.path() / "a", made / "llm_compressor"), "");
    (void)converted(folder.path() / "a", folder.path() / "b", {"auto_round"});
    EXPECT_EQ(tensor_difference(folder.path() / "b", made / "auto_round"), "");
    const std::string refused = testing::refusal(
        ErrorCode::unsupported, [&] { (void)converted(folder.path() / "a", folder.path() / "c", {"auto_gptq"}); });
    EXPECT_TRUE(testing::contains(refused, "'auto_gptq' has no place for static scales")) << refused;
  }
}

// Micro-scaled floats repack too where two formats have one layout.
TEST(Convert, FloatsOfOneLayoutRepack) {
  const TemporaryFolder folder;
  QuantizeOptions options;
  options.model = testing::tiny_model("source-llama-bf16");
  options.recipe = "rtn";
  options.scheme = "MXFP4";
  options.output_dir = folder.path() / "made";
  options.formats = {"auto_round", "llm_compressor"};
  options.model_free = false;
  Reporter silent;
  (void)quantize(options, testing::registry(), silent);
  converted(folder.path() / "made" / "auto_round", folder.path() / "out", {"llm_compressor"});
  EXPECT_EQ(test::first_tensor_difference(folder.path() / "out", folder.path() / "made" / "llm_compressor",
                                          {.other_dtype = {R"(_proj\.bias$)"}}),
            "");
  EXPECT_TRUE(contains(refused(folder.path() / "out", "auto_gptq"), "auto_round"));
}

}  // namespace
}  // namespace arkit
