// Which tensor of the source goes where, in which dtype, and what the texts say.

#include <fstream>
#include <iterator>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "formats/memory_source.h"
#include "formats/tiny_export.h"

namespace arkit::test {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLayer = "model.layers.0.mlp.up_proj";

// One block with one linear layer, and all the odd tensors a checkpoint can bring.
void fill(MemorySource& source, at::ScalarType bias_dtype, const std::string& bias_type) {
  source.settings["torch_dtype"] = "float32";
  source.settings["num_hidden_layers"] = 1;
  source.settings["my_own_key"] = json::Array{1, 2.5, "x"};
  source.settings["quantization_config"] = json::Object{{"quant_method", "fp8"}};
  source.memory.add("model.embed_tokens.weight", at::ones({64, 32}).to(at::kFloat), "Q4_1");
  source.memory.add(std::string(kLayer) + ".weight", at::rand({32, 32}).to(at::kBFloat16), "BF16");
  source.memory.add(std::string(kLayer) + ".bias", at::arange(32, bias_dtype), bias_type);
  source.memory.add("model.layers.0.norm.weight", at::full({32}, 0.1F), "F32");
  source.memory.add("model.layers.0.self_attn.rotary_emb.inv_freq", at::ones({8}), "F32");
  source.memory.add("model.norm.weight", at::full({32}, 0.5, at::kHalf), "F16");
  source.memory.add("model.layers.1.norm.weight", at::full({32}, 0.25, at::kBFloat16), "BF16");
  source.memory.add("lm_head.weight", at::ones({64, 32}, at::kBFloat16), "BF16");
  source.files = {{"generation_config.json", {}, R"({"eos_token_id": 2})"},
                  {"README.md", {}, "about the source"},
                  {"tokenizer.json", {}, "{}"}};
}

QuantPlan plan_for(bool tied) {
  QuantPlan plan;
  plan.global.weight = {.bits = 4, .group_size = 32};
  plan.block_lists = {"model.layers"};
  plan.num_blocks = 1;
  plan.tied_embeddings = tied;
  LayerPlan layer{.name = kLayer, .out_features = 32, .in_features = 32, .has_bias = true, .block = 0};
  layer.quant = plan.global;
  plan.layers.push_back(layer);
  return plan;
}

struct Exported {
  TemporaryFolder folder;
  std::unique_ptr<WeightSource> weights;
  json::Value config;
  explicit Exported(const std::string& name) : folder(name) {}
};

std::unique_ptr<Exported> run(const MemorySource& source, const QuantPlan& plan, const std::string& format,
                              const at::Tensor& tuned_norm = {}) {
  auto out = std::make_unique<Exported>("hf-" + format);
  const Exporter& exporter = format_plugins().exporter(format);
  const ExportRequest request{.output_dir = out->folder.path(), .source = source, .plan = plan};
  const auto job = exporter.open(request, format);
  if (tuned_norm.defined()) job->add_plain("model.layers.0.norm.weight", tuned_norm, true);
  add_layers(*job, source, plan);
  // Core hands over what it read; left-out tensors are accepted and forgotten.
  for (const TensorInfo& info : source.weights().tensors())
    if (info.name != std::string(kLayer) + ".weight" && !tuned_norm.defined())
      job->add_plain(info.name, source.weights().load(info.name).to(at::kBFloat16), false);
  (void)job->finish();
  out->weights = open_safetensors(out->folder.path());
  out->config = json::read_file(out->folder.path() / "config.json");
  return out;
}

std::string stored(const Exported& exported, const std::string& name) {
  const TensorInfo* info = exported.weights->find(name);
  return info == nullptr ? "absent" : info->stored_type;
}

TEST(HfExport, TensorsKeepTheirSourceDtype) {
  MemorySource source;
  fill(source, at::kBFloat16, "BF16");
  const auto out = run(source, plan_for(false), "auto_round");
  EXPECT_EQ(stored(*out, "model.layers.0.norm.weight"), "F32") << "F32 stays F32";
  EXPECT_EQ(out->weights->load("model.layers.0.norm.weight")[0].item<float>(), 0.1F)
      << "the source's value, not the one cast on the way";
  EXPECT_EQ(stored(*out, "model.norm.weight"), "F16");
  EXPECT_EQ(stored(*out, "model.embed_tokens.weight"), "BF16") << "decoded from Q4_1: the model dtype";
  EXPECT_EQ(stored(*out, std::string(kLayer) + ".bias"), "F16") << "a packed layer's bias";
  EXPECT_EQ(stored(*out, std::string(kLayer) + ".weight"), "absent");
  EXPECT_EQ(stored(*out, "lm_head.weight"), "BF16");
  EXPECT_EQ(stored(*out, "model.layers.0.self_attn.rotary_emb.inv_freq"), "absent") << "every loader computes it";
}

TEST(HfExport, AnF32BiasStaysF32AndFakeKeepsTheBiasDtype) {
  MemorySource f32;
  fill(f32, at::kFloat, "F32");
  EXPECT_EQ(stored(*run(f32, plan_for(false), "auto_awq"), std::string(kLayer) + ".bias"), "F32");
  MemorySource bf16;
  fill(bf16, at::kBFloat16, "BF16");
  EXPECT_EQ(stored(*run(bf16, plan_for(false), "fake"), std::string(kLayer) + ".bias"), "BF16");
}

TEST(HfExport, ATiedHeadIsNotWritten) {
  MemorySource source;
  fill(source, at::kFloat, "F32");
  EXPECT_EQ(stored(*run(source, plan_for(true), "auto_round"), "lm_head.weight"), "absent");
}

// A block behind the last one is a multi-token prediction head: no model class loads it, but nothing may get lost.
TEST(HfExport, MasksAndTablesOfOldCheckpointsGoThereToo) {
  const std::string attention = "model.layers.0.self_attn.";
  MemorySource source;
  fill(source, at::kFloat, "F32");
  source.memory.add(attention + "masked_bias", at::full({}, -1e9, at::kFloat), "F32");
  source.memory.add("h.0.attn.bias", at::ones({1, 1, 4, 4}, at::kFloat), "F32");
  source.memory.add("h.0.attn.c_attn.bias", at::ones({4}, at::kFloat), "F32");
  for (const char* format : {"auto_round", "auto_gptq", "llm_compressor", "fake", "mlx"}) {
    const auto out = run(source, plan_for(false), format);
    const auto file = [&](const std::string& name) {
      const TensorInfo* info = out->weights->find(name);
      return info == nullptr ? std::string("absent") : info->file;
    };
    const bool indexed = std::string_view(format) != "mlx";  // a file mlx-lm does not open
    for (const std::string& name : {attention + "masked_bias", std::string("h.0.attn.bias")})
      EXPECT_NE(indexed ? file(name).find("extra_tensors") : 0, std::string::npos) << format << name;
    EXPECT_EQ(file("h.0.attn.c_attn.bias").find("extra_tensors"), std::string::npos) << "a true bias: " << format;
  }
}

TEST(HfExport, BlocksBehindTheLastGoToTheExtraFile) {
  MemorySource source;
  fill(source, at::kFloat, "F32");
  const auto out = run(source, plan_for(false), "auto_round");
  EXPECT_TRUE(fs::exists(out->folder.path() / "model_extra_tensors.safetensors"));
  EXPECT_EQ(out->weights->find("model.layers.1.norm.weight")->file.find("model_extra_tensors") != std::string::npos,
            true);
  EXPECT_EQ(out->weights->load("model.layers.1.norm.weight")[0].item<float>(), 0.25F);
}

// mlx-lm reads every model*.safetensors and refuses tensors it has no place for.
TEST(HfExport, MlxKeepsThemWhereItDoesNotLook) {
  MemorySource source;
  fill(source, at::kFloat, "F32");
  const auto out = run(source, plan_for(false), "mlx");
  EXPECT_FALSE(fs::exists(out->folder.path() / "model_extra_tensors.safetensors"));
  EXPECT_EQ(out->weights->find("model.layers.1.norm.weight")->file.find("extra_tensors"), 0U);
}

TEST(HfExport, ATunedNormReplacesTheSourceValues) {
  MemorySource source;
  fill(source, at::kFloat, "F32");
  const auto out = run(source, plan_for(false), "auto_round", at::full({32}, 0.75, at::kBFloat16));
  EXPECT_EQ(out->weights->load("model.layers.0.norm.weight")[0].item<float>(), 0.75F);
  EXPECT_EQ(stored(*out, "model.layers.0.norm.weight"), "F32");
  EXPECT_EQ(stored(*out, "model.norm.weight"), "F16") << "tensors nobody added come from the source";
}

TEST(HfExport, ConfigKeepsSpellingsAndUnknownKeys) {
  MemorySource source;
  fill(source, at::kFloat, "F32");
  const json::Value config = run(source, plan_for(false), "auto_round")->config;
  EXPECT_EQ(config.at("torch_dtype").get_string(), "bfloat16");
  EXPECT_FALSE(config.get_object().contains("dtype"));
  EXPECT_EQ(config.at("my_own_key"), json::Value(json::Array{1, 2.5, "x"}));
  EXPECT_EQ(config.at("quantization_config").at("quant_method").get_string(), "auto-round");
  const json::Value fake = run(source, plan_for(false), "fake")->config;
  EXPECT_FALSE(fake.get_object().contains("quantization_config")) << "not even the source's";
}

TEST(HfExport, CompanionsTravelAlong) {
  MemorySource source;
  fill(source, at::kFloat, "F32");
  const auto out = run(source, plan_for(false), "auto_gptq");
  EXPECT_TRUE(fs::exists(out->folder.path() / "tokenizer.json"));
  EXPECT_FALSE(fs::exists(out->folder.path() / "README.md")) << "the source's card is not about this export";
  const json::Value generation = json::read_file(out->folder.path() / "generation_config.json");
  EXPECT_EQ(generation, json::parse(R"({"eos_token_id": 2, "do_sample": true})", "expected"));
  std::ifstream in(out->folder.path() / "quantization_config.json");
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  EXPECT_EQ(json::parse(text, "text"), out->config.at("quantization_config"));
  EXPECT_EQ(text.back(), '}') << "no newline at the end, as the reference writes it";
}

}  // namespace
}  // namespace arkit::test
