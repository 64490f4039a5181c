// Recipes of llm-compressor through the whole job: what is refused, what is warned about, what exports carry.
#include <algorithm>
#include <fstream>
#include <iterator>

#include <ATen/ATen.h>

#include <arkit/model_source.h>
#include <arkit/sdk/forwarding_source.h>

#include "jobs/job_testing.h"
#include "jobs/tiny_checkpoint.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;

constexpr const char* kHead = "default_stage:\n  default_modifiers:\n";

std::string text_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in) << path;
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

class RecipeJob : public ::testing::Test {
 protected:
  // `modifier` is one line, "QuantizationModifier: {...}".
  QuantizeOptions options_for(const std::string& modifier) {
    QuantizeOptions options = bare_options();
    options.recipe_file = folder_.path() / "recipe.yaml";
    std::ofstream(options.recipe_file) << kHead << "    " << modifier << "\n";
    options.formats.clear();
    return options;
  }

  QuantizeOptions bare_options() const {
    QuantizeOptions options;
    options.model = testing::tiny_model("source-llama-bf16");
    options.output_dir = folder_.path() / "out";
    return options;
  }

  json::Object run(const QuantizeOptions& options) { return quantize(options, testing::registry(), reporter_); }

  std::string refused(ErrorCode code, const QuantizeOptions& options) {
    return testing::refusal(code, [&] { (void)run(options); });
  }

  [[nodiscard]] bool warned(const std::string& part) const {
    return std::any_of(reporter_.warnings.begin(), reporter_.warnings.end(),
                       [&](const std::string& warning) { return testing::contains(warning, part); });
  }

  testing::TemporaryFolder folder_;
  testing::Recorder reporter_;
};

at::Tensor tensor_of(const fs::path& folder, const std::string& name) {
  return open_safetensors(folder)->load(name).clone();
}

// A model that differs from a source by the texts put into its folder.
fs::path copy_of_model(const std::string& source, const fs::path& target) {
  fs::create_directories(target);
  for (const char* name : {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"})
    fs::copy_file(testing::tiny_model(source) + "/" + name, target / name);
  return target;
}

TEST_F(RecipeJob, FormatsThatRecordNoRecipeAreRefused) {
  QuantizeOptions options = options_for("QuantizationModifier: {scheme: W4A16, ignore: [lm_head]}");
  for (const char* format : {"auto_round", "auto_round:llm_compressor", "mlx"}) {
    options.formats = {format};
    EXPECT_TRUE(testing::contains(refused(ErrorCode::unsupported, options), "llm_compressor")) << format;
  }
  options.formats = {"llm_compressor"};
  EXPECT_EQ(run(options).at("outputs").at(0).at("format"), "llmcompressor");
}

TEST_F(RecipeJob, ShapesAreCheckedBeforeAnyWork) {
  const QuantizeOptions options = options_for(
      "QuantizationModifier: {ignore: [lm_head], config_groups: {g: {targets: [Linear], weights: {num_bits: 4, "
      "group_size: "
      "96}}}}");
  const std::string message = refused(ErrorCode::unsupported, options);
  EXPECT_TRUE(testing::contains(message, "model.layers.0.self_attn.q_proj (128 columns, groups of 96)")) << message;
  EXPECT_TRUE(testing::contains(message, "more")) << message;
  EXPECT_FALSE(fs::exists(options.output_dir));
}

TEST_F(RecipeJob, ATargetThatMatchesNothingIsAWarningARecipeThatDoesAnError) {
  QuantizeOptions options =
      options_for("QuantizationModifier: {scheme: W4A16, targets: ['re:.*q_proj', q_proj], ignore: [lm_haed]}");
  EXPECT_EQ(run(options).at("quantized_layers"), 2);
  EXPECT_TRUE(warned("'q_proj' matches no layer"));
  EXPECT_TRUE(warned("'lm_haed' matches no layer"));
  options = options_for("QuantizationModifier: {scheme: W4A16, targets: [q_proj]}");
  EXPECT_TRUE(testing::contains(refused(ErrorCode::input, options), "quantizes no layer"));
}

TEST_F(RecipeJob, TheEmbeddingOfATiedModelIsRefused) {
  QuantizeOptions options = options_for("QuantizationModifier: {scheme: W4A16, targets: [Embedding]}");
  options.model = testing::tiny_model("source-qwen3-bf16");
  EXPECT_TRUE(testing::contains(refused(ErrorCode::unsupported, options), "lm_head's weight too"));
  options = options_for("AutoRoundModifier: {scheme: W4A16, iters: 0, targets: [Embedding]}");
  EXPECT_TRUE(testing::contains(refused(ErrorCode::unsupported, options), "QuantizationModifier"));
}

TEST_F(RecipeJob, DryRunsShowThePlanOfTheRecipe) {
  QuantizeOptions options =
      options_for("QuantizationModifier: {scheme: {FP8_DYNAMIC: 're:.*attn.*', W4A16: Linear}, ignore: [lm_head]}");
  options.dry_run = true;
  const json::Object report = run(options);
  for (const json::Value& layer : report.at("layers").as_array()) {
    const std::string name(layer.at("name").as_string()), scheme(layer.at("scheme").as_string());
    const char* expected = name == "lm_head" ? "16-bit"
                           : name.find("attn") != std::string::npos
                               ? "fp8 per-channel sym + act fp8 per-channel sym dynamic"
                               : "int4 g128 sym";
    EXPECT_EQ(scheme, expected) << name;
  }
  EXPECT_FALSE(fs::exists(options.output_dir));
}

TEST_F(RecipeJob, ModelsKeepTheirOwnRecipe) {
  QuantizeOptions options = options_for("QuantizationModifier: {scheme: W8A16, ignore: [lm_head]}");
  options.model = copy_of_model("source-llama-bf16", folder_.path() / "model").string();
  std::ofstream(folder_.path() / "model/recipe.yaml")
      << kHead << "    SmoothQuantModifier: {smoothing_strength: 0.8}\n";
  (void)run(options);
  const std::string text = text_of(options.output_dir / "recipe.yaml");
  EXPECT_TRUE(testing::contains(text,
                                "default_stage_0:\n  default_modifiers:\n    SmoothQuantModifier: "
                                "{smoothing_strength: 0.8}\ndefault_stage_1:\n"))
      << text;
}

TEST_F(RecipeJob, ScalesKeepTheDtypeOfTheModel) {
  QuantizeOptions options = options_for("QuantizationModifier: {scheme: W4A16, ignore: [lm_head]}");
  options.model = testing::tiny_model("source-llama-fp32");
  (void)run(options);
  EXPECT_EQ(tensor_of(options.output_dir, "model.layers.0.mlp.up_proj.weight_scale").scalar_type(), at::kFloat);
  EXPECT_TRUE(testing::contains(text_of(options.output_dir / "config.json"), "\"float32\""));
}

// What a run without a recipe writes beside its export asks for the same export again.
TEST_F(RecipeJob, ExportsWithoutARecipeCarryTheOneThatGivesThem) {
  for (const bool mixed : {false, true}) {
    QuantizeOptions options = bare_options();
    options.output_dir = folder_.path() / (mixed ? "mixed" : "plain");
    options.scheme = "W4A16";
    options.formats = {"llm_compressor"};
    options.tuning.iters = 0;
    options.tuning.disable_opt_rtn = true;
    if (mixed) {
      options.overrides.group_size = 32;
      options.layer_config = R"({"model.layers.0.mlp.down_proj": {"bits": 8}, "k_proj": {"bits": 16}})";
    }
    (void)run(options);

    QuantizeOptions again = bare_options();
    again.output_dir = folder_.path() / (mixed ? "mixed-again" : "plain-again");
    again.recipe_file = options.output_dir / "recipe.yaml";
    again.formats.clear();
    (void)run(again);
    const auto first = open_source(options.output_dir.string(), testing::registry());
    const auto second = open_source(again.output_dir.string(), testing::registry());
    ASSERT_EQ(sdk::packed_layers(*first).size(), sdk::packed_layers(*second).size());
    for (const LinearSpec& layer : sdk::packed_layers(*first)) {
      const TensorMap a = sdk::packed_of(*first).tensors(layer.name), b = sdk::packed_of(*second).tensors(layer.name);
      EXPECT_TRUE(a.at("weight_packed").equal(b.at("weight_packed"))) << layer.name;
      EXPECT_TRUE(a.at("weight_scale").to(at::kBFloat16).equal(b.at("weight_scale"))) << layer.name;
    }
    EXPECT_EQ(text_of(options.output_dir / "recipe.yaml"), text_of(again.output_dir / "recipe.yaml"));
  }
}

// Names come from files: in what is written of them none of their characters moves the cursor or turns the text around.
TEST_F(RecipeJob, ARecipeIsWrittenWithoutControlCharacters) {
  testing::Checkpoint checkpoint = testing::tiny_checkpoint("source-llama-bf16");
  checkpoint.tensors["odd\xe2\x80\xae\xc2\x85.weight"] = at::ones({4, 4}, at::kBFloat16);
  QuantizeOptions options = bare_options();
  options.model = checkpoint.write(folder_.path() / "model");
  options.recipe = "rtn";
  options.formats = {"llm_compressor"};
  (void)run(options);
  for (const char* file : {"recipe.yaml", "config.json", "quantization_config.json"})
    for (const char* raw : {"\xe2\x80\xae", "\xc2\x85"})
      EXPECT_FALSE(testing::contains(text_of(options.output_dir / file), raw)) << file;
  const std::string text = text_of(options.output_dir / "recipe.yaml");
  EXPECT_TRUE(testing::contains(text, R"("odd\u202e\u0085")")) << text;
}

}  // namespace
}  // namespace arkit
