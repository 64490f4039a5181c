#include <arkit/sdk/layer_rules.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <iterator>

#include <arkit/sdk/text_config.h>
#include <arkit/str.h>

namespace arkit::model_free {
namespace {

// Name parts of towers that do not read text (docs/spec/model-free.md 2).
constexpr std::array<std::string_view, 8> kOtherSenses = {"vision", "visual", "image", "img",
                                                          "audio",  "speech", "wav",   "waveform"};
// Routers decide which expert sees a token; an error there costs more than all it could save.
constexpr std::array<std::string_view, 2> kRouters = {"shared_expert_gate", "gate"};

bool architecture_contains(const json::Object& config, std::string_view part) {
  const json::Value* names = json::find(config, "architectures");
  if (names == nullptr || !names->is_array()) return false;
  return std::any_of(names->get_array().begin(), names->get_array().end(), [&](const json::Value& name) {
    return name.is_string() && std::string_view(name.get_string()).find(part) != std::string_view::npos;
  });
}

std::vector<std::string> dense_mlps(const json::Object& config) {
  const int64_t dense =
      std::clamp<int64_t>(json::get_int(config, "first_k_dense_replace", "config.json").value_or(1), 0, 1024);
  std::vector<std::string> parts;
  for (int64_t i = 0; i < dense; ++i) parts.push_back(str("layers.", i, ".mlp"));
  return parts;
}

}  // namespace

std::optional<int64_t> name_number(std::string_view component) {
  int64_t value = 0;
  const char* end = component.data() + component.size();
  const auto [stop, error] = std::from_chars(component.data(), end, value);
  if (component.empty() || error != std::errc() || stop != end || value < 0) return std::nullopt;
  return value;
}

std::string_view last_component(std::string_view name) {
  return name.substr(name.rfind('.') + 1);  // npos + 1 = 0
}

std::optional<BlockPlace> block_place(std::string_view name) {
  size_t begin = name.find('.');
  while (begin != std::string_view::npos) {
    const size_t end = name.find('.', begin + 1);
    if (end == std::string_view::npos) return std::nullopt;  // a number at the very end is no block
    if (const auto index = name_number(name.substr(begin + 1, end - begin - 1)))
      return BlockPlace{std::string(name.substr(0, begin)), *index};
    begin = end;
  }
  return std::nullopt;
}

std::string_view component_of(std::string_view name, std::span<const std::string_view> parts) {
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('.', begin), name.size());
    const std::string_view part = name.substr(begin, end - begin);
    if (std::find(parts.begin(), parts.end(), part) != parts.end()) return part;
    begin = end + 1;
  }
  return {};
}

std::string_view adapter_part(std::string_view name) {
  static constexpr std::string_view kParts[] = {"lora_A",
                                                "lora_B",
                                                "lora_a",
                                                "lora_b",
                                                "lora_down",
                                                "lora_up",
                                                "lora_embedding_A",
                                                "lora_embedding_B",
                                                "lora_magnitude_vector",
                                                "lora_E",
                                                "lora_ranknum",
                                                "ia3_l",
                                                "hada_w1_a",
                                                "hada_w1_b",
                                                "hada_w2_a",
                                                "hada_w2_b",
                                                "lokr_w1",
                                                "lokr_w2",
                                                "vera_lambda_b",
                                                "vera_lambda_d",
                                                "oft_R",
                                                "boft_R",
                                                "base_layer",
                                                "modules_to_save",
                                                "original_module",
                                                "trainable_tokens_delta"};
  return component_of(name, kParts);
}

std::string_view prediction_part(std::string_view rest) {
  static constexpr std::string_view kParts[] = {"eh_proj",   "enorm",        "hnorm",       "shared_head",
                                                "mtp_block", "embed_tokens", "hidden_norm", "token_norm"};
  return component_of(rest, kParts);
}

bool is_head_layer(std::string_view layer) {
  static constexpr std::array<std::string_view, 4> kHeads = {"lm_head", "embed_out", "output", "head"};
  return std::find(kHeads.begin(), kHeads.end(), last_component(layer)) != kHeads.end();
}

std::optional<FusedExperts> fused_experts(const TensorInfo& tensor) {
  if (tensor.shape.size() != 3) return std::nullopt;
  std::string_view name = tensor.name;
  if (name.ends_with(".weight")) name.remove_suffix(7);
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const std::string_view parent = name.substr(0, dot), projection = name.substr(dot + 1);
  std::string experts(parent);
  if (parent.ends_with(".moe"))
    experts += ".experts";
  else if (!is_expert_list(parent))
    return std::nullopt;
  if (projection == "gate_up_proj") return FusedExperts{experts, {"gate_proj", "up_proj"}};
  if (projection == "w13" || projection == "w13_weight") return FusedExperts{experts, {"w1", "w3"}};
  const bool out = name.find("down") != std::string_view::npos || name.find(".w2") != std::string_view::npos;
  if (projection == "w2_weight") return FusedExperts{experts, {"w2"}, out};
  return FusedExperts{experts, {std::string(projection)}, out};
}

bool is_expert_list(std::string_view list) {
  return list.ends_with(".experts") || list == "experts";
}

std::optional<ExpertCount> expert_count(const json::Object& config) {
  for (const std::string_view key : {"num_experts", "n_routed_experts", "num_local_experts"}) {
    const json::Value* value = json::find(config_with(config, key), key);
    if (value != nullptr && value->is_int64() && value->get_int64() > 0) return ExpertCount{key, value->get_int64()};
  }
  return std::nullopt;
}

// ModernBERT, T5, RWKV; values that are the keys (Gemma 4).
bool may_be_single(std::string_view module, const json::Object& config) {
  static constexpr std::array<std::string_view, 4> kSingle = {"attn_norm", "relative_attention_bias", "ln0", "pre_ln"};
  const std::string_view last = last_component(module);
  if (std::find(kSingle.begin(), kSingle.end(), last) != kSingle.end()) return true;
  const json::Value* shared = json::find(config_with(config, "attention_k_eq_v"), "attention_k_eq_v");
  return (last == "v_proj" || last == "k_proj") && shared != nullptr && shared->is_bool() && shared->get_bool();
}

bool is_norm_in_front(std::string_view rest) {
  return rest.starts_with("input_layernorm.") || rest.starts_with("ln_1.") || rest == "norm.weight";
}

bool is_linear_weight(const TensorInfo& tensor) {
  const std::string_view name = tensor.name;
  const bool real = at::isFloatingType(tensor.dtype) && c10::elementSize(tensor.dtype) >= 2;  // no codes
  if (!name.ends_with(".weight") || tensor.shape.size() != 2 || !real) return false;
  if (tensor.shape[0] < 1 || tensor.shape[1] < 1) return false;
  static constexpr std::array<std::string_view, 5> kOthers = {"embed", "conv", "wte", "wpe", "relative_attention_bias"};
  return std::none_of(kOthers.begin(), kOthers.end(),
                      [&](std::string_view part) { return name.find(part) != std::string_view::npos; });
}

bool is_embedding_table(std::string_view layer) {
  static constexpr std::array<std::string_view, 6> kTables = {
      "embed_tokens", "wte", "embed_in", "word_embeddings", "tok_embeddings", "embeddings"};
  return std::find(kTables.begin(), kTables.end(), last_component(layer)) != kTables.end();
}

bool is_other_sense(std::string_view name) {
  return std::any_of(kOtherSenses.begin(), kOtherSenses.end(),
                     [&](std::string_view sense) { return name.find(sense) != std::string_view::npos; });
}

LayerRules::LayerRules(const json::Object& config) {
  const std::string type = json::get_string(config, "model_type", "config.json").value_or("");
  const auto with_dense_mlps = [&](std::vector<std::string> more) {
    std::vector<std::string> parts = dense_mlps(config);
    parts.insert(parts.end(), more.begin(), more.end());
    return parts;
  };
  // The first rule that fits (docs/spec/model-free.md 3).
  if (architecture_contains(config, "Longcat"))
    keep({"classifier"}, "Longcat");
  else if (architecture_contains(config, "Glm4MoeLite"))
    keep(dense_mlps(config), "Glm4MoeLite");
  else if (type == "glm_moe_dsa")
    keep(with_dense_mlps({"weights_proj", "indexer"}), type);
  else if (type == "glm5_next")
    keep(with_dense_mlps({"weights_proj", "indexer", "self_attn"}), type);
  else if (type == "step3p5")
    keep({"g_proj", "moe.gate", "eh_proj", "shared_head", "layers.45"}, type);
  else if (type == "kimi_k25")
    keep({"vision_tower", "mm_projector"}, type);
  else if (architecture_contains(config, "Qwen4"))
    keep({"hyper_connection", "mlp.gate", "shared_expert"}, "Qwen4");
  else if (type == "bagel")
    keep({"moe_gen"}, type);
}

void LayerRules::keep(std::vector<std::string> parts, const std::string& whose) {
  for (std::string& part : parts) {
    std::string reason = str("rule of ", whose, " models: '", part, "'");
    parts_.push_back({std::move(part), std::move(reason)});
  }
}

std::string LayerRules::why_kept(std::string_view layer) const {
  for (const std::string_view router : kRouters)
    if (last_component(layer) == router) return "router of a mixture of experts";
  if (str(layer, ".").find(".router.") != std::string::npos) return "router of a mixture of experts";
  for (const std::string_view sense : kOtherSenses)
    if (layer.find(sense) != std::string_view::npos) return str("not a text layer ('", sense, "')");
  const std::string closed = str(layer, ".");  // so that "layers.4" does not mean "layers.45"
  for (const Part& part : parts_) {
    const size_t at = closed.find(part.text);
    if (at == std::string::npos) continue;
    const char next = at + part.text.size() < closed.size() ? closed[at + part.text.size()] : '.';
    if (part.text.find("layers.") == std::string::npos || next == '.') return part.reason;
  }
  return {};
}

std::string fused_group(std::string_view layer) {
  struct Fused {
    std::string_view member, group;
  };
  static constexpr std::array<Fused, 7> kFused = {{{"q_proj", "qkv"},
                                                   {"k_proj", "qkv"},
                                                   {"v_proj", "qkv"},
                                                   {"gate_proj", "gate_up"},
                                                   {"up_proj", "gate_up"},
                                                   {"w1", "w13"},
                                                   {"w3", "w13"}}};
  const std::string_view last = last_component(layer);
  for (const Fused& fused : kFused)
    if (last == fused.member) return str(layer.substr(0, layer.size() - last.size()), fused.group);
  return {};
}

namespace {

LayerRole guess_role(std::string_view layer) {
  struct Guess {
    std::string_view name;
    LayerRole role;
  };
  static constexpr Guess kGuesses[] = {
      {"q_proj", LayerRole::query},
      {"k_proj", LayerRole::key},
      {"v_proj", LayerRole::value},
      {"qkv_proj", LayerRole::qkv},
      {"query_key_value", LayerRole::qkv},
      {"o_proj", LayerRole::output},
      {"gate_proj", LayerRole::gate},
      {"w1", LayerRole::gate},
      {"up_proj", LayerRole::up},
      {"w3", LayerRole::up},
      {"gate_up_proj", LayerRole::gate_up},
      {"down_proj", LayerRole::down},
      {"w2", LayerRole::down},
      {"gate", LayerRole::router},
      {"router", LayerRole::router},
      {"shared_expert_gate", LayerRole::shared_gate},
      {"in_proj", LayerRole::state_in},
      {"q_a_proj", LayerRole::latent_down},
      {"kv_a_proj_with_mqa", LayerRole::latent_down},
      {"q_b_proj", LayerRole::latent_up},
      {"kv_b_proj", LayerRole::latent_up},
      {"lm_head", LayerRole::head},
  };
  if (is_embedding_table(layer)) return LayerRole::embedding;
  if (is_other_sense(layer)) return LayerRole::vision;
  const std::string_view last = last_component(layer);
  const auto* found =
      std::find_if(std::begin(kGuesses), std::end(kGuesses), [&](const Guess& guess) { return guess.name == last; });
  return found == std::end(kGuesses) ? LayerRole::other : found->role;
}

// The first component that speaks of routed experts, and the number behind it.
void guess_expert(LayerPlan& layer) {
  const std::string_view name = layer.name;
  for (size_t begin = 0, end = 0; begin < name.size(); begin = end + 1) {
    end = std::min(name.find('.', begin), name.size());
    const std::string_view component = name.substr(begin, end - begin);
    if (component.find("expert") == std::string_view::npos || component.starts_with("shared_expert")) continue;
    const size_t next = std::min(end + 1, name.size());
    const std::string_view behind = name.substr(next, std::min(name.find('.', next), name.size()) - next);
    layer.experts = name.substr(0, end);
    layer.expert = name_number(behind).value_or(-1);
    return;
  }
}

}  // namespace

void guess_layer(LayerPlan& layer) {
  const bool expert =
      layer.name.find(".experts.") != std::string::npos || layer.name.find(".moe.") != std::string::npos;
  if (expert) layer.kind = LayerKind::expert;
  layer.fused_group = fused_group(layer.name);
  layer.role = guess_role(layer.name);
  guess_expert(layer);
}

}  // namespace arkit::model_free
