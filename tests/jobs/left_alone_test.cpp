// Quantized layers and those that a configuration lists as left alone are all linear layers of the model.

#include <set>
#include <string>

#include <ATen/ATen.h>

#include <arkit/regex.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/sdk/linear_layers.h>

#include "jobs/job_testing.h"
#include "jobs/written_model.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;
using testing::TemporaryFolder;

at::Tensor numbers(std::vector<int64_t> shape) {
  return at::randn(shape).mul_(0.05).to(at::kBFloat16);
}

const std::string kLlama = testing::tiny_model("source-llama-bf16");

// A classifier: a head of another name, none for tokens.
fs::path classifier(const fs::path& folder) {
  TensorMap tensors = testing::tensors_of(kLlama);
  tensors.erase("lm_head.weight");
  tensors["score.weight"] = numbers({2, 128});
  json::Object config = testing::config_of(kLlama);
  config["architectures"] = json::Array{"LlamaForSequenceClassification"};
  return testing::write_model(folder, tensors, config);
}

// Layers for the prediction of further tokens, beside the blocks and behind the last of them; a tower with a projector;
// tables that are no layers.
fs::path of_all_sorts(const fs::path& folder) {
  TensorMap tensors = testing::tensors_of(kLlama);
  for (const auto& [name, tensor] : testing::tensors_of(kLlama))
    if (name.starts_with("model.layers.1.")) {
      const std::string rest = name.substr(std::string("model.layers.1.").size());
      tensors["mtp.layers.0." + rest] = tensor;
      tensors["model.layers.2." + rest] = tensor;
    }
  for (const char* name : {"mtp.fc", "model.layers.2.eh_proj"})
    tensors[std::string(name) + ".weight"] = numbers({128, 256});
  tensors["visual.blocks.0.attn.qkv.weight"] = numbers({96, 32});
  tensors["visual.merger.mlp.0.weight"] = numbers({64, 64});
  tensors["visual.merger.mlp.2.weight"] = numbers({128, 64});
  tensors["visual.pos_embed.weight"] = numbers({16, 32});
  tensors["visual.patch_embed.proj.weight"] = numbers({32, 3, 2, 2});
  return testing::write_model(folder, tensors, testing::config_of(kLlama));
}

// Routers, which the family of the blocks does not read.
fs::path with_routers(const fs::path& folder) {
  TensorMap tensors = testing::tensors_of(kLlama);
  tensors["model.layers.0.mlp.gate.weight"] = tensors["model.layers.1.mlp.gate.weight"] = numbers({4, 128});
  return testing::write_model(folder, tensors, testing::config_of(kLlama));
}

using Names = std::set<std::string>;

Names names_in(const json::Value* list) {
  Names names;
  if (list == nullptr) return names;
  if (list->is_object())
    for (const auto& member : list->get_object()) names.emplace(member.key());
  else
    for (const json::Value& name : list->get_array()) names.emplace(name.get_string());
  return names;
}

// Does the configuration of this format say that loaders must leave `layer` alone?
bool is_left_alone(const json::Object& config, const std::string& layer) {
  for (const char* key : {"ignore", "ignored_layers", "modules_to_not_convert"})
    if (names_in(json::find(config, key)).contains(layer)) return true;
  if (const json::Value* extra = json::find(config, "extra_config"); extra != nullptr)
    if (const json::Value* own = extra->get_object().if_contains(layer); own != nullptr)
      return own->at("bits").as_int64() == 16;
  for (const std::string& key : names_in(json::find(config, "dynamic")))
    if (Regex(key.substr(2), "dynamic").search(layer)) return key.starts_with("-:");
  // Where formats say it in other words: a head that is not quantized, blocks that are.
  return layer == "lm_head" && (config.contains("lm_head") || config.contains("block_name_to_quantize"));
}

struct Case {
  const char* format;
  const char* scheme;
};

TEST(LeftAlone, QuantizedAndListedAreAllLinearLayers) {
  at::manual_seed(1);
  for (const auto& make : {classifier, of_all_sorts, with_routers}) {
    const TemporaryFolder folder;
    const fs::path model = make(folder.path() / "model");
    Names linears;
    for (const std::string& name : plain_linears(*open_safetensors(model))) linears.insert(name);
    ASSERT_GT(linears.size(), 14U);
    for (const bool model_free : {true, false}) {
      if (!model_free && make != of_all_sorts) continue;  // no plugin runs it
      for (const Case& to : {Case{"llm_compressor", "W4A16"}, Case{"llm_compressor", "FP8_DYNAMIC"},
                             Case{"llm_compressor", "MXFP4"}, Case{"auto_round", "W4A16"}, Case{"auto_round", "MXFP4"},
                             Case{"auto_gptq", "W4A16"}, Case{"auto_awq", "W4A16"}, Case{"fp8", "FP8_BLOCK"}}) {
        QuantizeOptions options;
        options.model = model.string();
        options.output_dir = folder.path() / "out";
        options.recipe = "rtn";
        options.scheme = to.scheme;
        options.formats = {to.format};
        options.model_free = model_free;
        options.force = true;
        Reporter silent;
        (void)quantize(options, testing::registry(), silent);
        const auto source = open_source(options.output_dir.string(), testing::registry());
        const json::Object config = json::read_file(options.output_dir / "quantization_config.json").as_object();
        Names packed;
        for (const LinearSpec& layer : sdk::packed_layers(*source)) packed.insert(layer.name);
        EXPECT_FALSE(packed.empty());
        for (const std::string& layer : linears)
          EXPECT_NE(packed.contains(layer), is_left_alone(config, layer))
              << to.format << " " << to.scheme << (model_free ? " model-free " : " ") << layer;
        for (const std::string& layer : plain_linears(source->weights()))
          EXPECT_TRUE(linears.contains(layer)) << layer << " was no layer of the source";
      }
    }
  }
}

TEST(LeftAlone, TablesAreNoLayers) {
  for (const char* table : {"model.embed_tokens", "wte", "bert.embeddings.word_embeddings", "visual.pos_embed",
                            "visual.embeddings.position_embedding", "shared"})
    EXPECT_TRUE(is_lookup_table(table)) << table;
  for (const char* layer :
       {"embed_out", "model.embed_vision.embedding_projection", "lm_head", "visual.patch_embed.proj",
        "vision_model.patch_embedding.linear", "model.layers.0.mlp.shared_expert.up_proj"})
    EXPECT_FALSE(is_lookup_table(layer)) << layer;
}

}  // namespace
}  // namespace arkit
