// Exports of llm_compressor after the job: types of scales, packed embeddings, activations as compressed-tensors rounds
// them.
#include <fstream>

#include <ATen/ATen.h>

#include <arkit/model_source.h>
#include <arkit/scheme.h>
#include <arkit/sdk/forwarding_source.h>

#include "jobs/job_testing.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;

class CompressedTensors : public ::testing::Test {
 protected:
  QuantizeOptions options_for(const std::string& scheme, std::vector<std::string> formats) const {
    QuantizeOptions options;
    options.model = testing::tiny_model("source-llama-bf16");
    options.scheme = scheme;
    options.formats = std::move(formats);
    options.output_dir = folder_.path() / "out";
    options.force = true;
    options.tuning.iters = 0;
    options.tuning.disable_opt_rtn = true;
    return options;
  }

  // `modifier` is one line, "QuantizationModifier: {...}".
  fs::path run_recipe(const std::string& name, const std::string& modifier) {
    QuantizeOptions options = options_for("", {});
    options.scheme = QuantizeOptions().scheme;
    options.tuning = QuantizeOptions().tuning;
    options.recipe_file = folder_.path() / (name + ".yaml");
    options.output_dir = folder_.path() / name;
    options.dataset = "self";
    options.tuning.nsamples = 2;
    options.tuning.seqlen = 16;
    std::ofstream(options.recipe_file) << "default_stage:\n  default_modifiers:\n    " << modifier << "\n";
    (void)quantize(options, testing::registry(), reporter_);
    return options.output_dir;
  }

  static std::unique_ptr<ModelSource> open(const fs::path& folder) {
    return open_source(folder.string(), testing::registry());
  }

  json::Object verified(const fs::path& folder) {
    return verify({.directory = folder, .against = {}}, testing::registry(), reporter_);
  }

  double nll(const fs::path& folder) {
    EvalOptions options;
    options.model = folder.string();
    options.text_file = folder_.path() / "text.txt";
    options.seqlen = 32;
    std::ofstream(options.text_file) << std::string(40, 'a') +
                                            " the quick brown fox jumps over the lazy dog 0123456789";
    return evaluate_perplexity(options, testing::registry(), reporter_).at("nll").to_number<double>();
  }

  testing::TemporaryFolder folder_;
  testing::Recorder reporter_;
};

// AutoRound 0.16.1 writes scales of integers in the type that scale_dtype names.
TEST_F(CompressedTensors, IntegerScalesHaveTheTypeAskedFor) {
  const std::vector<std::pair<const char*, at::ScalarType>> types = {
      {"float16", at::kHalf}, {"bfloat16", at::kBFloat16}, {"float32", at::kFloat}};
  for (const char* scheme : {"W4A16G32", "INT8_W8A8"})
    for (const auto& [name, type] : types) {
      QuantizeOptions options = options_for(scheme, {"llm_compressor", "fake"});
      options.overrides.scale_dtype = name;
      const json::Object report = quantize(options, testing::registry(), reporter_);
      const auto packed = open(std::string(report.at("outputs").at(0).at("output_dir").as_string()));
      const auto full = open(std::string(report.at("outputs").at(1).at("output_dir").as_string()));
      ASSERT_EQ(sdk::packed_layers(*packed).size(), 14U);
      for (const LinearSpec& layer : sdk::packed_layers(*packed)) {
        EXPECT_EQ(sdk::packed_of(*packed).tensors(layer.name).at("weight_scale").scalar_type(), type) << scheme << name;
        const at::Tensor weight = testing::registry().scheme_for("int").dequantize(
            sdk::packed_of(*packed).unpack(layer.name), layer.quant.weight, at::kBFloat16);
        EXPECT_TRUE(weight.equal(full->weights().load(layer.name + ".weight"))) << scheme << name << layer.name;
      }
    }
}

TEST_F(CompressedTensors, ActivationsAreRoundedAsItsLoaderDoes) {
  for (const char* scheme : {"MXFP4", "MXFP8", "INT8_W8A8"}) {
    QuantizeOptions options = options_for(scheme, {"llm_compressor"});
    (void)quantize(options, testing::registry(), reporter_);
    const auto source = open(options.output_dir);
    EXPECT_EQ(sdk::packed_layers(*source).size(), 14U);
    for (const LinearSpec& layer : sdk::packed_layers(*source))
      EXPECT_EQ(layer.quant.act.observer, "compressed-tensors") << scheme;
  }
}

TEST_F(CompressedTensors, StaticIntegerInputsAreReadAgain) {
  const fs::path folder = run_recipe(
      "static",
      "QuantizationModifier: {ignore: [lm_head], config_groups: {g: {targets: [Linear], weights: {num_bits: 8, type: "
      "int, strategy: channel}, input_activations: {num_bits: 8, type: int, strategy: tensor, dynamic: false}}}}");
  const auto source = open(folder);
  const QuantizedWeight weight = sdk::packed_of(*source).unpack("model.layers.0.mlp.up_proj");
  const at::Tensor scale = sdk::packed_of(*source).tensors("model.layers.0.mlp.up_proj").at("input_scale");
  ASSERT_TRUE(weight.extra.contains("act_max"));
  EXPECT_TRUE(weight.extra.at("act_max").equal(scale.to(at::kFloat).mul(127.5)));
  const fs::path plain = run_recipe("plain", "QuantizationModifier: {scheme: W8A16, ignore: [lm_head]}");
  EXPECT_NEAR(nll(folder), nll(plain), 0.05);
}

TEST_F(CompressedTensors, PackedEmbeddingsAreVerifiedAndRun) {
  const fs::path both =
      run_recipe("both", "QuantizationModifier: {scheme: W8A16, targets: [Linear, Embedding], ignore: [lm_head]}");
  const fs::path layers = run_recipe("layers", "QuantizationModifier: {scheme: W8A16, ignore: [lm_head]}");
  EXPECT_EQ(open(both)->weights().find("model.embed_tokens.weight"), nullptr);
  const json::Object report = verified(both);
  EXPECT_TRUE(report.at("passed").as_bool()) << json::dump(report);
  EXPECT_EQ(report.at("counts").at("quantized").to_number<int64_t>(), 15);
  const double with = nll(both), without = nll(layers);
  EXPECT_NE(with, without);
  EXPECT_NEAR(with, without, 0.05);
}

TEST_F(CompressedTensors, PackedEmbeddingsConvertToNoOtherFormat) {
  const fs::path folder =
      run_recipe("table", "QuantizationModifier: {scheme: W8A16, targets: [Embedding], ignore: [lm_head]}");
  ConvertOptions options;
  options.model = folder.string();
  options.formats = {"auto_round"};
  options.output_dir = folder_.path() / "converted";
  const std::string message =
      testing::refusal(ErrorCode::unsupported, [&] { (void)convert(options, testing::registry(), reporter_); });
  EXPECT_TRUE(testing::contains(message, "no loader of auto_round looks up packed embeddings")) << message;
  options.formats = {"llm_compressor"};
  (void)convert(options, testing::registry(), reporter_);  // proves that it holds the same numbers
  EXPECT_EQ(sdk::packed_layers(*open(options.output_dir)).size(), 1U);
}

// A reader has no way to say it, so the jobs that compute do.
TEST_F(CompressedTensors, FullSizeWeightsWarnThatActivationsStayInFull) {
  QuantizeOptions options = options_for("INT8", {"fake"});
  (void)quantize(options, testing::registry(), reporter_);
  reporter_.warnings.clear();
  (void)nll(options.output_dir);
  ASSERT_EQ(reporter_.warnings.size(), 1U);
  EXPECT_TRUE(testing::contains(reporter_.warnings.front(), "asks for activations of 8 bits")) << reporter_.warnings[0];
  options = options_for("INT8", {"llm_compressor"});
  (void)quantize(options, testing::registry(), reporter_);
  reporter_.warnings.clear();
  (void)nll(options.output_dir);
  EXPECT_TRUE(reporter_.warnings.empty());
}

}  // namespace
}  // namespace arkit
