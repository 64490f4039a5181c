// Every model-free export of the reference, made again. Where the reference is defective the export is to be the
// regular run's, and how it differs from the reference's is said element by element.
#include <cstdlib>
#include <functional>

#include <ATen/ATen.h>

#include <arkit/json.h>
#include <arkit/model_source.h>
#include <arkit/scheme.h>
#include <arkit/sdk/forwarding_source.h>

#include "formats/golden_compare.h"
#include "jobs/job_testing.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;
using testing::TemporaryFolder;

struct ModelFreeCase {
  std::string name;  // without "modelfree-"
  std::string format = "auto_round";
  std::string scheme = "W4A16";
  std::string source = "source-llama-bf16";
  bool asym = false;
  std::string layer_config = {};
  bool quant_lm_head = false;
  test::Deviation deviation = {};
};

std::string golden(const std::string& name) {
  return testing::tiny_model("modelfree-" + name);
}

QuantizeOptions options_of(const ModelFreeCase& wanted, const fs::path& out) {
  QuantizeOptions options;
  options.model = testing::tiny_model(wanted.source);
  options.output_dir = out;
  options.scheme = wanted.scheme;
  options.formats = {wanted.format};
  options.recipe = "rtn";
  options.model_free = true;
  if (wanted.asym) options.overrides.sym = false;
  options.layer_config = wanted.layer_config;
  options.quant_lm_head = wanted.quant_lm_head;
  return options;
}

void run(const QuantizeOptions& options) {
  Reporter silent;
  (void)quantize(options, testing::registry(), silent);
}

class ModelFreeGolden : public ::testing::TestWithParam<ModelFreeCase> {};

TEST_P(ModelFreeGolden, EqualsTheReference) {
  const TemporaryFolder folder;
  run(options_of(GetParam(), folder.path() / "out"));
  EXPECT_EQ(test::first_difference(folder.path() / "out", golden(GetParam().name), GetParam().deviation), "");
}

INSTANTIATE_TEST_SUITE_P(
    All, ModelFreeGolden,
    ::testing::Values(
        ModelFreeCase{.name = "auto_round-W4A16"}, ModelFreeCase{.name = "auto_round-W2A16", .scheme = "W2A16"},
        ModelFreeCase{.name = "auto_round-W8A16", .scheme = "W8A16"},
        ModelFreeCase{.name = "auto_round-MXFP4", .scheme = "MXFP4"},
        ModelFreeCase{.name = "auto_round-W4A16-mixed",
                      .layer_config = R"({"model.layers.0.mlp.down_proj": {"bits": 8}, "k_proj": {"bits": 16}})",
                      .quant_lm_head = true},
        ModelFreeCase{.name = "fake-W4A16", .format = "fake"},
        ModelFreeCase{.name = "qwen3tied-auto_round-W4A16", .source = "source-qwen3-bf16"},
        ModelFreeCase{.name = "fusedmoe-llm_compressor-MXFP4",
                      .format = "llm_compressor",
                      .scheme = "MXFP4",
                      .source = "source-fusedmoe-bf16"},
        ModelFreeCase{.name = "llm_compressor-MXFP4", .format = "llm_compressor", .scheme = "MXFP4"},
        ModelFreeCase{.name = "llm_compressor-MXFP8", .format = "llm_compressor", .scheme = "MXFP8"},
        ModelFreeCase{.name = "llm_compressor-MXFP4-MXFP8",
                      .format = "llm_compressor",
                      .scheme = "MXFP4",
                      .layer_config = R"({"down_proj": {"scheme": "MXFP8"}})"},
        // Only what is checked below differs.
        ModelFreeCase{
            .name = "auto_round-NVFP4_E5M3", .scheme = "NVFP4_E5M3", .deviation = {.other_bytes = {"weight_packed$"}}},
        ModelFreeCase{.name = "fp32bias-auto_round-W4A16",
                      .source = "source-llama-fp32",
                      .deviation = {.other_bytes = {"qweight$", "scales$"}}}),
    [](const ::testing::TestParamInfo<ModelFreeCase>& info) {
      std::string name = info.param.name;
      for (char& c : name)
        if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
      return name;
    });

// Both folders hold the same packed layers; hands each with its codes from both.
void for_all_layers(const fs::path& a, const fs::path& b,
                    const std::function<void(const LinearSpec&, const QuantizedWeight&, const QuantizedWeight&)>& f) {
  const auto left = open_source(a.string(), testing::registry()), right = open_source(b.string(), testing::registry());
  ASSERT_FALSE(sdk::packed_layers(*left).empty());
  ASSERT_EQ(sdk::packed_layers(*left).size(), sdk::packed_layers(*right).size());
  for (const LinearSpec& spec : sdk::packed_layers(*left))
    f(spec, sdk::packed_of(*left).unpack(spec.name), sdk::packed_of(*right).unpack(spec.name));
}

int64_t largest_distance(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kInt) - b.to(at::kInt)).abs().max().item<int64_t>();
}

// The regular run of the same case.
fs::path regular(const ModelFreeCase& wanted, const TemporaryFolder& folder) {
  QuantizeOptions options = options_of(wanted, folder.path() / "regular");
  options.model_free = false;
  run(options);
  return options.output_dir;
}

// The reference computes in float32 here and divides by a scale it has not rounded yet, while it stores a rounded one
// (docs/spec/model-free.md 6), in a layout of its own for model-free runs. Ours is the regular run's, in its layout
// (ADR 0022).
TEST(ModelFreeDefects, AsymmetricExportsAreThoseOfARegularRun) {
  const ModelFreeCase asym{.name = "auto_round-W4A16-asym", .asym = true};
  const TemporaryFolder folder;
  run(options_of(asym, folder.path() / "out"));
  int64_t changed = 0, all = 0;
  for_all_layers(folder.path() / "out", golden(asym.name), [&](const auto& spec, const auto& ours, const auto& theirs) {
    EXPECT_EQ(spec.packing, "auto_round:auto_awq") << "what engines have kernels for";
    EXPECT_TRUE(at::allclose(ours.scale.to(at::kFloat), theirs.scale.to(at::kFloat), 0.01, 0)) << spec.name;
    EXPECT_LE(largest_distance(ours.zero_point, theirs.zero_point), 1) << spec.name;
    EXPECT_LE(largest_distance(ours.codes, theirs.codes), 2) << spec.name;
    changed += ours.codes.ne(theirs.codes).sum().template item<int64_t>();
    all += ours.codes.numel();
  });
  EXPECT_GT(changed, 0) << "or the case tests nothing";
  EXPECT_LT(changed, all / 10);
  const fs::path like = regular(asym, folder);
  EXPECT_EQ(test::first_tensor_difference(folder.path() / "out", like), "");
  const json::Value config = json::read_file(folder.path() / "out" / "config.json");
  const json::Value other = json::read_file(like / "config.json");
  for (const char* key : {"dtype", "torch_dtype"}) EXPECT_EQ(config.at(key), other.at(key));
  for (const char* key : {"packing_format", "bits", "group_size", "sym"})
    EXPECT_EQ(config.at("quantization_config").at(key), other.at("quantization_config").at(key));
}

// Likewise for weights in float32, which a regular run rounds to bfloat16 first (ADR 12).
TEST(ModelFreeDefects, Float32SourcesAreRoundedAsInARegularRun) {
  const ModelFreeCase wanted{.name = "fp32bias-auto_round-W4A16", .source = "source-llama-fp32"};
  const TemporaryFolder folder;
  run(options_of(wanted, folder.path() / "out"));
  const auto source = open_hf_folder(testing::tiny_model(wanted.source));
  for_all_layers(
      folder.path() / "out", golden(wanted.name), [&](const auto& spec, const auto& ours, const auto& theirs) {
        // Where the largest weights of both signs become equal, the scale takes the other sign and all codes with it.
        const at::Tensor scale = ours.scale.to(at::kFloat).abs();
        EXPECT_TRUE(at::allclose(scale, theirs.scale.to(at::kFloat).abs(), 0.005, 0)) << spec.name;
        const Scheme& scheme = testing::registry().scheme_for("int");
        const at::Tensor distance = scheme.dequantize(ours, spec.quant.weight, at::kFloat) -
                                    scheme.dequantize(theirs, spec.quant.weight, at::kFloat);
        EXPECT_LE(distance.abs().max().template item<float>(), 1.1F * scale.max().template item<float>()) << spec.name;
      });
  for_all_layers(folder.path() / "out", regular(wanted, folder), [](const auto&, const auto& ours, const auto& theirs) {
    EXPECT_TRUE(ours.codes.equal(theirs.codes));
    EXPECT_TRUE(ours.scale.equal(theirs.scale));
  });
  const auto tensors = open_safetensors(folder.path() / "out");
  for (const TensorInfo& tensor : source->weights().tensors())
    if (tensor.name.ends_with(".bias") || tensor.shape.size() == 1)
      EXPECT_TRUE(tensors->load(tensor.name).equal(source->weights().load(tensor.name))) << tensor.name;
}

// A row of 64 weights in groups of 128 is one short group: the reference pads it to 128 and stores the padding.
TEST(ModelFreeDefects, ShortGroupsAreNotPadded) {
  const ModelFreeCase wanted{.name = "fusedmoe-auto_round-W4A16", .source = "source-fusedmoe-bf16"};
  const TemporaryFolder folder;
  run(options_of(wanted, folder.path() / "out"));
  const auto ours = open_safetensors(folder.path() / "out"), theirs = open_safetensors(golden(wanted.name));
  ASSERT_EQ(ours->tensors().size(), theirs->tensors().size());
  int padded = 0;
  for (const TensorInfo& tensor : theirs->tensors()) {
    const at::Tensor expected = theirs->load(tensor.name), got = ours->load(tensor.name);
    if (tensor.name.ends_with("down_proj.qweight")) {
      ++padded;
      EXPECT_EQ(expected.size(0), 16);
      ASSERT_EQ(got.size(0), 8) << "64 inputs of 4 bits";
      EXPECT_TRUE(got.equal(expected.narrow(0, 0, 8))) << tensor.name;
    } else {
      EXPECT_TRUE(got.equal(expected)) << tensor.name;
    }
  }
  EXPECT_EQ(padded, 4);
  const std::vector<std::string> same = {"config.json", "quantization_config.json"};
  for (const std::string& name : same) EXPECT_TRUE(fs::exists(folder.path() / "out" / name));
  EXPECT_EQ(test::first_difference(folder.path() / "out", folder.path() / "out"), "");
}

// Zeros that come from negative weights are negative zeros to the reference, in model-free runs only.
TEST(ModelFreeDefects, ZerosOfE5m3HaveNoSign) {
  const ModelFreeCase wanted{.name = "auto_round-NVFP4_E5M3", .scheme = "NVFP4_E5M3"};
  const TemporaryFolder folder;
  run(options_of(wanted, folder.path() / "out"));
  int64_t signs = 0;
  for_all_layers(folder.path() / "out", golden(wanted.name), [&](const auto&, const auto& ours, const auto& theirs) {
    const at::Tensor negative_zero = theirs.codes.eq(8);
    EXPECT_EQ(ours.codes.eq(8).sum().template item<int64_t>(), 0);
    EXPECT_TRUE(ours.codes.equal(theirs.codes.masked_fill(negative_zero, 0)));
    signs += negative_zero.sum().template item<int64_t>();
  });
  EXPECT_GT(signs, 0);
}

// The reference loses the name of the preset on the way and writes W4A16 (docs/spec/model-free.md 6).
TEST(ModelFreeDefects, MixedPresetKeepsDenseLayersAtEightBits) {
  const ModelFreeCase wanted{.name = "auto_round-W4A16_MIXED", .scheme = "W4A16_MIXED"};
  const TemporaryFolder folder;
  run(options_of(wanted, folder.path() / "out"));
  const ModelFreeCase eight{.name = "auto_round-W8A16", .scheme = "W8A16"};
  run(options_of(eight, folder.path() / "eight"));
  for_all_layers(folder.path() / "out", folder.path() / "eight",
                 [](const auto& spec, const auto& ours, const auto& theirs) {
                   EXPECT_EQ(spec.quant.weight.bits, 8);
                   EXPECT_TRUE(ours.codes.equal(theirs.codes));
                 });
  for_all_layers(testing::tiny_model("auto_round-W4A16"), folder.path() / "eight",
                 [](const auto& spec, const auto&, const auto&) { EXPECT_EQ(spec.quant.weight.bits, 4); });
}

// Blocks of float8 are dequantized and rounded again.
TEST(ModelFreeGoldenSources, Fp8BlocksEqualTheReference) {
  const TemporaryFolder folder;
  ModelFreeCase wanted{.name = "fp8", .format = "fp8", .scheme = "FP8_BLOCK"};
  QuantizeOptions source = options_of(wanted, folder.path() / "fp8");
  source.model_free = false;
  run(source);
  wanted = {.name = "fp8src-auto_round-W4A16"};
  QuantizeOptions options = options_of(wanted, folder.path() / "out");
  options.model = (folder.path() / "fp8").string();
  run(options);
  EXPECT_EQ(test::first_difference(options.output_dir, golden(wanted.name)), "");
  const json::Value record = json::read_file(options.output_dir / "arkit-run.json");
  EXPECT_EQ(record.at("source").at("files").as_array().size(), 1U) << "a shard of nothing but packed layers counts";
}

}  // namespace
}  // namespace arkit
