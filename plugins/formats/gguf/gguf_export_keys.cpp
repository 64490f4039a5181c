#include "gguf_export_keys.h"

#include <algorithm>
#include <array>

#include <arkit/error.h>
#include <arkit/sdk/rope.h>
#include <arkit/str.h>

#include "gguf_card.h"
#include "gguf_model_name.h"
#include "gguf_parts.h"
#include "gguf_provenance.h"
#include "rope_factors.h"

namespace arkit::gguf {
namespace {

constexpr std::string_view kConfig = "config.json";

int64_t integer(const json::Object& config, std::string_view key, int64_t absent) {
  return json::get_int(config, key, kConfig).value_or(absent);
}
double number(const json::Object& config, std::string_view key, double absent) {
  return json::get_double(config, key, kConfig).value_or(absent);
}

int64_t head_dim(const json::Object& config) {
  const int64_t heads = integer(config, "num_attention_heads", 0);
  return integer(config, "head_dim", heads > 0 ? integer(config, "hidden_size", 0) / heads : 0);
}

Rope rope_of(const json::Object& config) {
  return sdk::read_rope(sdk::normalise_rope(config, 10000.0, kConfig, ""), head_dim(config),
                        integer(config, "max_position_embeddings", 0), false, kConfig);
}

bool is_hash(std::string_view name) {
  return name.size() == 40 &&
         std::all_of(name.begin(), name.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

void put_rope_keys(KeyValues& keys, const std::string& prefix, const Rope& rope) {
  keys.put_f32(prefix + "rope.freq_base", rope.theta);
  if (rope.type == "linear") {
    keys.put_text(prefix + "rope.scaling.type", "linear");
    keys.put_f32(prefix + "rope.scaling.factor", rope.factor);
  }
  if (rope.type == "yarn") {
    keys.put_text(prefix + "rope.scaling.type", "yarn");
    keys.put_f32(prefix + "rope.scaling.factor", rope.factor);
    keys.put_u32(prefix + "rope.scaling.original_context_length", rope.original_max_positions);
    if (rope.attention_factor) keys.put_f32(prefix + "rope.scaling.yarn_attn_factor", *rope.attention_factor);
    keys.put_f32(prefix + "rope.scaling.yarn_beta_fast", rope.beta_fast);
    keys.put_f32(prefix + "rope.scaling.yarn_beta_slow", rope.beta_slow);
  }
}

// What the model recommends for sampling.
void put_sampling_keys(KeyValues& keys, const ModelSource& source) {
  for (const CompanionFile& file : source.companions()) {
    if (file.name != "generation_config.json") continue;
    const json::Value parsed =
        file.path.empty() ? json::parse(file.content, "generation_config.json") : json::read_file(file.path);
    const json::Object& wishes = json::as_object(parsed, "generation_config.json");
    if (const auto top_k = json::get_int(wishes, "top_k", file.name)) keys.put_i32("general.sampling.top_k", *top_k);
    constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kNumbers{
        {{"top_p", "top_p"}, {"min_p", "min_p"}, {"temperature", "temp"}, {"repetition_penalty", "penalty_repeat"}}};
    for (const auto& [name, key] : kNumbers)
      if (const auto value = json::get_double(wishes, name, file.name))
        keys.put_f32(str("general.sampling.", key), *value);
  }
}

// The name is the file's own; its parts are what the source says they are.
void put_name_keys(KeyValues& keys, const std::string& name, int64_t parameters, const SourceKeys& said) {
  const NameParts parts = parse_model_name(name, parameters);
  const auto put = [&](std::string_view key, const std::string& read) { keys.put_text(key, said.text_or(key, read)); };
  keys.put_text("general.name", name);
  put("general.version", parts.version);
  put("general.finetune", parts.finetune);
  put("general.basename", parts.basename);
  keys.put_text("general.quantized_by", "arkit");
  put("general.size_label", parts.size_label.empty() ? size_label(parameters) : parts.size_label);
}

}  // namespace

std::string model_name(const ModelSource& source) {
  const std::filesystem::path path = std::filesystem::absolute(source.path()).lexically_normal();
  std::string name = path.filename().string();
  if (name.empty()) name = path.parent_path().filename().string();
  if (name.ends_with(".gguf")) {
    if (const auto part = read_part_name(name)) name = part->stem + ".gguf";
    return without_type(name.substr(0, name.size() - 5));
  }
  if (!is_hash(name)) return name;
  // .../models--owner--name/snapshots/<commit>
  name = path.parent_path().parent_path().filename().string();
  const size_t at = name.rfind("--");
  return at == std::string::npos ? name : name.substr(at + 2);
}

std::string why_no_model_keys(const ModelSource& source) {
  const json::Object& config = source.config();
  const std::string type = json::get_string(config, "model_type", kConfig).value_or("");
  if (architecture_for(type) == nullptr)
    return str("models of type '", printable(type), "' are not written as GGUF; llama, mistral, qwen2 and qwen3 are");
  if (const std::string act = json::get_string(config, "hidden_act", kConfig).value_or("silu"); act != "silu")
    return str("its activation '", printable(act), "' has no word in GGUF, whose readers take silu");
  const Rope rope = rope_of(config);
  if (rope.dim != rope.head_dim) return "heads that turn in part have no word in GGUF for this architecture";
  constexpr std::array<std::string_view, 4> kKnown{"default", "linear", "yarn", "llama3"};
  if (std::find(kKnown.begin(), kKnown.end(), rope.type) == kKnown.end())
    return str("rope scaling of type '", rope.type, "' is not written as GGUF; default, linear, yarn and llama3 are");
  return {};
}

void put_model_keys(KeyValues& keys, const ModelSource& source, const Architecture& architecture, int64_t parameters,
                    uint32_t file_type) {
  const json::Object& config = source.config();
  const std::string prefix = str(architecture.name, ".");
  const int64_t heads = integer(config, "num_attention_heads", 0), dim = head_dim(config);
  keys.put_text("general.architecture", architecture.name);
  keys.put_text("general.type", "model");
  put_sampling_keys(keys, source);
  const SourceKeys said(source);
  put_name_keys(keys, model_name(source), parameters, said);
  if (said.is_file())
    said.carry_into(keys);
  else
    put_card_keys(keys, source);
  keys.put_u32(prefix + "block_count", integer(config, "num_hidden_layers", 0));
  keys.put_u32(prefix + "context_length", integer(config, "max_position_embeddings", 0));
  keys.put_u32(prefix + "embedding_length", integer(config, "hidden_size", 0));
  keys.put_u32(prefix + "feed_forward_length", integer(config, "intermediate_size", 0));
  keys.put_u32(prefix + "attention.head_count", heads);
  keys.put_u32(prefix + "attention.head_count_kv", integer(config, "num_key_value_heads", heads));
  put_rope_keys(keys, prefix, rope_of(config));
  keys.put_f32(prefix + "attention.layer_norm_rms_epsilon", number(config, "rms_norm_eps", 1e-6));
  keys.put_u32(prefix + "attention.key_length", dim);
  keys.put_u32(prefix + "attention.value_length", dim);
  if (architecture.permutes_q_and_k) {
    keys.put_u32(prefix + "vocab_size", integer(config, "vocab_size", 0));
    keys.put_u32(prefix + "rope.dimension_count", dim);
  }
  keys.put_u32("general.file_type", file_type);
  keys.put_u32("general.quantization_version", 2);
}

std::vector<float> rope_tensor(const ModelSource& source) {
  const Rope rope = rope_of(source.config());
  return rope.type == "llama3" ? llama3_factors(rope) : std::vector<float>();
}

}  // namespace arkit::gguf
