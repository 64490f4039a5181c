#include "mlx_names.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <arkit/sdk/tied_embeddings.h>
#include <arkit/str.h>

namespace arkit::mlx {
namespace {

constexpr const char* kWhat = "config.json";
constexpr std::string_view kBlocks = "model.layers.";

std::string type_of(const json::Object& config) {
  return json::get_string(config, "model_type", kWhat).value_or("");
}

bool is_flag(const json::Object& config, std::string_view key) {
  return json::get_bool(config, key, kWhat).value_or(false);
}

bool is_known_by_heart(std::string_view model_type) {
  return model_type == "llama" || model_type == "mistral" || model_type == "qwen2" || model_type == "qwen3";
}

// "self_attn.q_proj.weight" of "model.layers.12.self_attn.q_proj.weight"; empty outside blocks.
std::string_view inside_block(std::string_view name) {
  if (!name.starts_with(kBlocks)) return {};
  name.remove_prefix(kBlocks.size());
  const size_t dot = name.find('.');
  return dot == std::string_view::npos ? std::string_view() : name.substr(dot + 1);
}

bool is_place_of(std::string_view name, const json::Object& config) {
  const std::string type = type_of(config);
  const std::string_view inside = inside_block(name);
  if (inside.empty())
    return name == "model.embed_tokens.weight" || name == "model.norm.weight" || name == "lm_head.weight";
  if (inside == "input_layernorm.weight" || inside == "post_attention_layernorm.weight") return true;
  if (inside == "self_attn.q_norm.weight" || inside == "self_attn.k_norm.weight") return type == "qwen3";
  static constexpr std::array<std::string_view, 7> kLinears = {
      "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
      "mlp.gate_proj",    "mlp.up_proj",      "mlp.down_proj"};
  const std::string_view layer = inside.substr(0, inside.rfind('.'));
  const std::string_view suffix = inside.substr(layer.size());
  const auto* found = std::find(kLinears.begin(), kLinears.end(), layer);
  if (found == kLinears.end()) return false;
  if (suffix == ".weight") return true;
  const bool is_attention = layer.starts_with("self_attn");
  if (suffix != ".bias" || type == "qwen3") return false;
  if (type == "qwen2") return is_attention && layer != "self_attn.o_proj";
  return is_flag(config, is_attention ? "attention_bias" : "mlp_bias");
}

// How far a query may look where that is not everywhere; nullopt = everywhere, or a class that sees to it.
std::optional<int64_t> ignored_window(const json::Object& config) {
  const std::string type = type_of(config);
  const bool mistral = type == "mistral";
  // Where a flag says whether there is a window; without it there is, or there is where its length is given.
  const bool flagged = type.starts_with("qwen2") || type == "qwen3" || type == "qwen3_moe" || type == "smollm3";
  const bool given =
      type == "phi3" || type == "phimoe" || type == "mixtral" || type == "starcoder2" || type == "minimax";
  const bool always = mistral || type == "gemma2";
  if (flagged ? !is_flag(config, "use_sliding_window") : !given && !always) return std::nullopt;
  const bool is_null = json::find(config, "sliding_window") == nullptr;
  if (is_null && (given || config.contains("sliding_window"))) return std::nullopt;
  const int64_t window = json::get_int(config, "sliding_window", kWhat).value_or(4096);
  const int64_t positions = json::get_int(config, "max_position_embeddings", kWhat).value_or(mistral ? 131072 : 32768);
  if (window >= positions) return std::nullopt;
  const json::Value* types = json::find(config, "layer_types");
  if (types == nullptr || !types->is_array()) return window;
  const auto is = [&](std::string_view kind) {
    return std::any_of(types->get_array().begin(), types->get_array().end(), [&](const json::Value& type_name) {
      return type_name.is_string() && std::string_view(type_name.get_string()) == kind;
    });
  };
  if (!is("sliding_attention")) return std::nullopt;
  // Its llama class, which runs mistral too, follows layer_types that name one layer at least that sees everything.
  return mistral && is("full_attention") ? std::nullopt : std::optional(window);
}

// Every how many layers one sees everything, in classes that count them off; 0 = config.json's layers do not go like
// that, nullopt = another class, or not said.
std::optional<int64_t> full_layer_every(const json::Object& config) {
  const std::string type = type_of(config);
  const bool counts = type == "cohere2" || type == "gemma3_text";
  if (!counts && type != "olmo3") return std::nullopt;
  const json::Value* types = json::find(config, "layer_types");
  if (types == nullptr || !types->is_array()) return std::nullopt;  // counted off in Transformers, too
  int64_t every = 0, layer = 0;
  for (const json::Value& kind : types->get_array()) {
    ++layer;
    const bool full = kind == json::Value("full_attention");
    if (full && every == 0) every = layer;
    if (counts && every > 0 && full != (layer % every == 0)) return 0;
  }
  return every;  // olmo3's class reads the list, and wants one of them
}

std::string architecture(const json::Object& config) {
  const json::Value* names = json::find(config, "architectures");
  const bool named =
      names != nullptr && names->is_array() && !names->get_array().empty() && names->get_array()[0].is_string();
  return named ? std::string(names->get_array()[0].get_string()) : "?";
}

// Numbers transformers works out from others.
void write_derived(json::Object& config, std::string_view type) {
  const json::Value* positions = json::find(config, "n_positions");
  if (type == "gpt2" && positions != nullptr && json::find(config, "n_ctx") == nullptr)
    config["n_ctx"] = json::Value(*positions);
  const auto embedding = json::get_int(config, "n_embd", kWhat);
  if (type == "gpt_bigcode" && embedding && json::find(config, "n_inner") == nullptr)
    config["n_inner"] = 4 * *embedding;
  if (const auto every = full_layer_every(config);
      every && type != "olmo3" && json::find(config, "sliding_window_pattern") == nullptr)
    config["sliding_window_pattern"] = *every;
  const bool wants_head_dim = type == "exaone4" || type == "exaone_moe" || type == "glm4_moe" || type == "qwen3_moe";
  if (!wants_head_dim || json::find(config, "head_dim") != nullptr) return;
  const auto width = json::get_int(config, "hidden_size", kWhat),
             heads = json::get_int(config, "num_attention_heads", kWhat);
  if (width && heads && *heads > 0) config["head_dim"] = *width / *heads;
}

}  // namespace

bool has_no_place(const TensorInfo& tensor, const json::Object& config) {
  return is_known_by_heart(type_of(config)) && !is_place_of(tensor.name, config);
}

Verdict supports_architecture(const ModelSource& source) {
  const json::Object& config = source.config();
  const std::string type = type_of(config);
  const TiedEmbeddings embeddings = find_tied_embeddings(source);
  if (!embeddings.has_head && !embeddings.tied)
    return Verdict::no(str("mlx-lm has classes for language models only, and a '", printable(architecture(config)),
                           "' has no head over the vocabulary"));
  if (type == "qwen3" && is_flag(config, "attention_bias"))
    return Verdict::no("mlx-lm's class for model_type 'qwen3' has no place for the biases of attention");
  if (is_known_by_heart(type) && source.weights().find("model.norm.weight") == nullptr)
    return Verdict::no(str("mlx-lm's class for model_type '", type,
                           "' wants tensors named 'model. ...', and there is no 'model.norm.weight'"));
  if (full_layer_every(config) == 0)
    return Verdict::no(str("mlx-lm's class for model_type '", type,
                           "' lets every n-th layer see everything, and 'layer_types' says otherwise"));
  if (const auto window = ignored_window(config))
    return Verdict::no(str("mlx-lm's class for model_type '", printable(type),
                           "' has no sliding window, and config.json ", "asks for one of ", *window,
                           " positions; set 'sliding_window' to null to do without"));
  return Verdict::yes();
}

void write_defaults(json::Object& config) {
  struct Default {
    std::string_view model_type, key;
    json::Value value;
  };
  // transformers 5.23's defaults where mlx-lm 0.32.2 has another or none.
  static const std::vector<Default> kDefaults = {{"llama", "rms_norm_eps", 1e-6},
                                                 {"llama", "max_position_embeddings", 2048},
                                                 {"mistral", "rms_norm_eps", 1e-6},
                                                 {"mistral", "max_position_embeddings", 131072},
                                                 {"mistral", "num_key_value_heads", 8},
                                                 {"qwen2", "rms_norm_eps", 1e-6},
                                                 {"qwen2", "num_key_value_heads", 32},
                                                 {"qwen3", "rms_norm_eps", 1e-6},
                                                 {"qwen3", "num_key_value_heads", 32},
                                                 {"qwen3", "max_position_embeddings", 32768},
                                                 {"qwen3", "head_dim", 128},
                                                 {"qwen2_moe", "num_key_value_heads", 16},
                                                 {"granite", "attention_bias", false},
                                                 {"granite", "mlp_bias", false},
                                                 {"granite", "max_position_embeddings", 2048},
                                                 {"gemma2", "query_pre_attn_scalar", 256},
                                                 {"glm", "attention_bias", true},
                                                 {"seed_oss", "attention_bias", true},
                                                 {"phimoe", "rms_norm_eps", 1e-5},
                                                 {"glm4", "partial_rotary_factor", 0.5},
                                                 {"glm4_moe", "partial_rotary_factor", 0.5},
                                                 {"stablelm", "partial_rotary_factor", 0.25},
                                                 {"qwen3_next", "partial_rotary_factor", 0.25},
                                                 {"qwen3_next", "norm_topk_prob", true}};
  const std::string type = type_of(config);
  for (const Default& entry : kDefaults)
    if (entry.model_type == type && json::find(config, entry.key) == nullptr) config[entry.key] = entry.value;
  write_derived(config, type);
  // transformers 5 has another name for it in some families.
  const json::Value* experts = json::find(config, "num_local_experts");
  if (experts != nullptr && json::find(config, "num_experts") == nullptr) config["num_experts"] = json::Value(*experts);
}

}  // namespace arkit::mlx
