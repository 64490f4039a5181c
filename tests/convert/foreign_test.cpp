// GPTQ and AWQ checkpoints of other tools (tools/make_foreign_checkpoints.py): read, verified, converted; damaged ones
// refused.
#include <fstream>
#include <sstream>

#include <ATen/ATen.h>

#include <arkit/scheme.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/str.h>

#include "convert/convert_testing.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;
using testing::contains;
using testing::converted;
using testing::refusal;
using testing::rewrite;
using testing::TemporaryFolder;
using testing::tensor_difference;

fs::path foreign(const std::string& name) {
  return fs::path(ARKIT_TEST_DATA) / "foreign" / name;
}

// (code - zero point) * scale of each input's group, one weight at a time, from the numbers before packing.
at::Tensor straightforward(const WeightSource& expected, const std::string& layer) {
  const at::Tensor codes = expected.load(layer + ".codes"), zeros = expected.load(layer + ".zeros");
  const at::Tensor scales = expected.load(layer + ".scales").to(at::kFloat), index = expected.load(layer + ".index");
  const auto code = codes.accessor<uint8_t, 2>(), zero = zeros.accessor<uint8_t, 2>();
  const auto scale = scales.accessor<float, 2>();
  const auto group = index.accessor<int32_t, 1>();
  at::Tensor weight = at::empty(codes.sizes(), at::kFloat);
  auto out = weight.accessor<float, 2>();
  for (int64_t o = 0; o < codes.size(0); ++o)
    for (int64_t i = 0; i < codes.size(1); ++i)
      out[o][i] = static_cast<float>(code[o][i] - zero[o][group[i]]) * scale[o][group[i]];
  return weight;
}

void expect_weights(const fs::path& folder, const fs::path& expected_folder) {
  const auto source = open_source(folder.string(), testing::registry());
  const auto expected = open_safetensors(expected_folder / "expected.safetensors");
  ASSERT_EQ(sdk::packed_layers(*source).size(), 7U);
  for (const LinearSpec& spec : sdk::packed_layers(*source)) {
    const Scheme& scheme = testing::registry().scheme_for("int");
    const at::Tensor weight =
        scheme.dequantize(sdk::packed_of(*source).unpack(spec.name), spec.quant.weight, at::kFloat);
    EXPECT_TRUE(weight.equal(straightforward(*expected, spec.name))) << folder << ": " << spec.name;
  }
}

struct Checkpoint {
  const char* name;
  const char* kind;
  const char* first_packing;
};

class Foreign : public ::testing::TestWithParam<Checkpoint> {};

TEST_P(Foreign, ReadsAsAStraightforwardDequantization) {
  const auto source = open_source(foreign(GetParam().name).string(), testing::registry());
  EXPECT_EQ(source->kind(), GetParam().kind);
  EXPECT_EQ(sdk::packed_layers(*source).front().packing, GetParam().first_packing);
  expect_weights(foreign(GetParam().name), foreign(GetParam().name));
}

TEST_P(Foreign, VerifiesAndComputes) {
  Reporter silent;
  // "expected.safetensors" lies beside the model: a copy without it is what a user has.
  const TemporaryFolder folder;
  rewrite(foreign(GetParam().name), folder.path() / "model", [](TensorMap& tensors) {
    for (auto it = tensors.begin(); it != tensors.end();)
      it = it->first.ends_with(".codes") || it->first.ends_with(".zeros") || it->first.ends_with(".index") ||
                   (it->first.ends_with(".scales") && it->second.scalar_type() == at::kByte)
               ? tensors.erase(it)
               : std::next(it);
  });
  const json::Object report =
      verify({.directory = folder.path() / "model", .against = {}}, testing::registry(), silent);
  EXPECT_TRUE(report.at("passed").as_bool()) << json::dump(report, 2);
  testing::write_safetensors(folder.path() / "ids.safetensors", {{"input_ids", at::arange(32).reshape({1, 32})}});
  const json::Object ppl = evaluate_perplexity({.model = (folder.path() / "model").string(),
                                                .text_file = {},
                                                .ids_file = folder.path() / "ids.safetensors",
                                                .against = {},
                                                .seqlen = 16,
                                                .max_windows = std::nullopt,
                                                .backend = {}},
                                               testing::registry(), silent);
  EXPECT_GT(ppl.at("perplexity").as_double(), 1.0);
}

INSTANTIATE_TEST_SUITE_P(Tools, Foreign,
                         ::testing::Values(Checkpoint{"gptq-4bit-act-order", "gptq", "gptq:act_order"},
                                           Checkpoint{"gptq_v2-3bit-act-order", "gptq_v2", "gptq_v2:act_order"},
                                           Checkpoint{"gptq-8bit-static-groups", "gptq", "gptq"},
                                           Checkpoint{"gptq-2bit-zero-index", "gptq", "gptq"},
                                           Checkpoint{"awq-4bit", "awq", "awq"}),
                         [](const auto& info) {
                           std::string name = info.param.name;
                           for (char& c : name)
                             if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
                           return name;
                         });

// AutoAWQ made this one and said what it holds: dequantized in float16.
void expect_autoawq_weights(const fs::path& folder) {
  const auto source = open_source(folder.string(), testing::registry());
  const auto expected = open_safetensors(foreign("autoawq-0.2.9") / "expected" / "weights.safetensors");
  ASSERT_EQ(sdk::packed_layers(*source).size(), 7U);
  for (const LinearSpec& spec : sdk::packed_layers(*source)) {
    const Scheme& scheme = testing::registry().scheme_for("int");
    const at::Tensor weight =
        scheme.dequantize(sdk::packed_of(*source).unpack(spec.name), spec.quant.weight, at::kFloat);
    EXPECT_TRUE(weight.to(at::kHalf).equal(expected->load(spec.name + ".weight"))) << folder << ": " << spec.name;
  }
}

TEST(AutoAwq, ItsOwnCheckpointIsReadVerifiedAndConverted) {
  expect_autoawq_weights(foreign("autoawq-0.2.9"));
  Reporter silent;
  const json::Object report =
      verify({.directory = foreign("autoawq-0.2.9"), .against = {}}, testing::registry(), silent);
  EXPECT_TRUE(report.at("passed").as_bool()) << json::dump(report, 2);
  const TemporaryFolder folder;
  for (const char* format : {"auto_round", "auto_gptq", "auto_awq"}) {
    converted(foreign("autoawq-0.2.9"), folder.path() / format, {format});
    expect_autoawq_weights(folder.path() / format);
  }
}

TEST(ActOrder, ConvertsToWhatFollowsItsIndex) {
  const TemporaryFolder folder;
  for (const char* name : {"gptq-4bit-act-order", "gptq_v2-3bit-act-order"}) {
    const fs::path out = folder.path() / name;
    converted(foreign(name), out, {"auto_gptq"});
    expect_weights(out, foreign(name));
    const json::Value config = json::read_file(out / "quantization_config.json");
    EXPECT_TRUE(config.at("desc_act").as_bool());
    for (const char* format : {"auto_round", "auto_round:gptqmodel", "llm_compressor", "mlx"}) {
      const std::string message =
          refusal(ErrorCode::unsupported, [&] { converted(foreign(name), folder.path() / "no", {format}, true); });
      EXPECT_TRUE(contains(message, "act order") || contains(message, "group_size")) << message;
      EXPECT_TRUE(contains(message, "'auto_gptq'")) << message;
    }
  }
}

// Packed the same way on the way back: version 1 from version 1.
TEST(ActOrder, ComesBackByteForByte) {
  const TemporaryFolder folder;
  converted(foreign("gptq-4bit-act-order"), folder.path() / "again", {"auto_gptq"});
  const auto a = open_safetensors(foreign("gptq-4bit-act-order") / "model.safetensors");
  const auto b = open_safetensors(folder.path() / "again");
  for (const TensorInfo& info : a->tensors()) EXPECT_TRUE(a->load(info.name).equal(b->load(info.name))) << info.name;
}

TEST(ActOrder, RunsNeedNoIndex) {
  const TemporaryFolder folder;
  for (const char* name : {"gptq-8bit-static-groups", "gptq-2bit-zero-index"}) {
    converted(foreign(name), folder.path() / name, {"llm_compressor"});
    expect_weights(folder.path() / name, foreign(name));
  }
  converted(foreign("awq-4bit"), folder.path() / "awq", {"auto_gptq"});
  expect_weights(folder.path() / "awq", foreign("awq-4bit"));
}

// compressed-tensors' actorder: the same index under another name.
TEST(ActOrder, IsReadFromCompressedTensors) {
  const TemporaryFolder folder;
  testing::make_export(folder.path() / "a", "source-llama-bf16", 4, true, 32, {"llm_compressor"});
  const std::string layer = "model.layers.0.mlp.down_proj";
  const at::Tensor index = at::randperm(256, at::kLong).floor_divide(32).to(at::kInt);
  rewrite(folder.path() / "a", folder.path() / "b",
          [&](TensorMap& tensors) { tensors[layer + ".weight_g_idx"] = index; });
  const auto source = open_source((folder.path() / "b").string(), testing::registry());
  const QuantizedWeight weight = sdk::packed_of(*source).unpack(layer);
  const at::Tensor decoded =
      testing::registry().scheme_for("int").dequantize(weight, {.bits = 4, .group_size = 32}, at::kFloat);
  const at::Tensor expected =
      (weight.codes.to(at::kFloat) - 8) * weight.scale.to(at::kFloat).index_select(1, index.to(at::kLong));
  EXPECT_TRUE(decoded.equal(expected));
}

// mlx-lm takes the smallest weight of a group as its offset, which is no multiple of the scale.
TEST(MlxLm, OffsetsBetweenTheCodesStayInMlx) {
  const TemporaryFolder folder;
  testing::make_export(folder.path() / "a", "source-llama-bf16", 4, true, 32, {"mlx"});
  const std::string layer = "model.layers.0.mlp.down_proj";
  rewrite(folder.path() / "a", folder.path() / "b", [&](TensorMap& tensors) {
    tensors.at(layer + ".biases").add_(tensors.at(layer + ".scales").mul(-9.3));  // far below the smallest code
  });
  fs::remove(folder.path() / "b" / "arkit-run.json");  // its model is another
  const auto source = open_source((folder.path() / "b").string(), testing::registry());
  const TensorMap packed = sdk::packed_of(*source).tensors(layer);
  const QuantizedWeight weight = sdk::packed_of(*source).unpack(layer);
  const at::Tensor decoded =
      testing::registry().scheme_for("int").dequantize(weight, {.bits = 4, .group_size = 32}, at::kFloat);
  const at::Tensor group = at::arange(256, at::kLong).floor_divide(32);
  const auto spread = [&](const char* suffix) { return packed.at(suffix).to(at::kFloat).index_select(1, group); };
  EXPECT_TRUE(decoded.equal(weight.codes.to(at::kFloat) * spread("scales") + spread("biases"))) << "what MLX computes";

  Reporter silent;
  const json::Object report = verify({.directory = folder.path() / "b", .against = {}}, testing::registry(), silent);
  EXPECT_TRUE(report.at("passed").as_bool()) << json::dump(report, 2);
  const std::string message = refusal(
      ErrorCode::unsupported, [&] { converted(folder.path() / "b", folder.path() / "no", {"llm_compressor"}, true); });
  EXPECT_TRUE(contains(message, "no whole numbers")) << message;
  converted(folder.path() / "b", folder.path() / "mlx", {"auto_round:mlx"});
  EXPECT_EQ(tensor_difference(folder.path() / "b", folder.path() / "mlx"), "");
}

// --- hostile values

std::string edited(const std::string& name, const char* file, const std::string& from, const std::string& to,
                   ErrorCode code) {
  const TemporaryFolder folder;
  fs::copy(foreign(name), folder.path() / "model");
  fs::remove(folder.path() / "model" / "expected.safetensors");
  std::ostringstream text;
  text << std::ifstream(folder.path() / "model" / file).rdbuf();
  std::string edited = text.str();
  const size_t at = edited.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  edited.replace(at, from.size(), to);
  std::ofstream(folder.path() / "model" / file) << edited;
  return refusal(code, [&] { (void)open_source((folder.path() / "model").string(), testing::registry()); });
}

TEST(ForeignRefuses, ValuesThatCannotBe) {
  const char* own = "quantize_config.json";
  const std::string gptq = "gptq-4bit-act-order";
  EXPECT_TRUE(contains(edited(gptq, own, R"("bits": 4)", R"("bits": 99)", ErrorCode::input), "99"));
  EXPECT_TRUE(contains(edited(gptq, own, R"("bits": 4)", R"("bits": 8)", ErrorCode::input), "qzeros"));
  EXPECT_TRUE(contains(edited(gptq, own, R"("group_size": 32)", R"("group_size": -7)", ErrorCode::input), "-7"));
  EXPECT_TRUE(contains(edited(gptq, own, R"("group_size": 32)", R"("group_size": 64)", ErrorCode::input), "qzeros"));
  EXPECT_TRUE(contains(edited(gptq, own, R"("desc_act": true)", R"("desc_act": "yes")", ErrorCode::input), "desc_act"));
  const std::string v2 = "gptq_v2-3bit-act-order";
  EXPECT_TRUE(contains(edited(v2, "config.json", R"("gptq_v2")", R"("marlin")", ErrorCode::unsupported), "marlin"));
  EXPECT_TRUE(contains(edited(v2, "config.json", R"("int32")", R"("int64")", ErrorCode::unsupported), "int64"));
  EXPECT_TRUE(contains(
      edited("gptq-8bit-static-groups", "config.json", "-:.*lm_head.*", "-:.*(lm_head", ErrorCode::input), "lm_head"));
  EXPECT_TRUE(contains(edited("awq-4bit", "quant_config.json", "GEMM", "GEMV", ErrorCode::unsupported), "GEMV"));
}

std::string with_index(int64_t value, bool all) {
  const TemporaryFolder folder;
  fs::create_directories(folder.path() / "from");
  for (const char* file : {"config.json", "quantize_config.json", "model.safetensors"})
    fs::copy_file(foreign("gptq-4bit-act-order") / file, folder.path() / "from" / file);
  rewrite(folder.path() / "from", folder.path() / "model", [&](TensorMap& tensors) {
    at::Tensor& index = tensors.at("model.layers.0.mlp.up_proj.g_idx");
    if (all)
      index.fill_(value);
    else
      index[5] = value;
  });
  return refusal(ErrorCode::input, [&] { (void)open_source((folder.path() / "model").string(), testing::registry()); });
}

TEST(ForeignRefuses, GroupsThatDoNotExist) {
  EXPECT_TRUE(contains(with_index(2, false), "up_proj"));
  EXPECT_TRUE(contains(with_index(-1, false), "group index holds -1"));
  EXPECT_TRUE(contains(with_index(1 << 30, true), "1073741824"));
}

}  // namespace
}  // namespace arkit
