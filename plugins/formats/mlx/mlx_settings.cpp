#include "mlx_settings.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/str.h>

namespace arkit::mlx {
namespace {

constexpr const char* kWhat = "config.json";

// A class (of mlx-lm 0.32.2, read 2026-11) has `values` built in; transformers 5.23 reads `key`, and takes `absent` for
// granted where there is none.
struct BuiltIn {
  std::string_view key;
  json::Value absent;
  std::vector<json::Value> values;
  std::vector<std::string_view> model_types;
};

const std::vector<BuiltIn>& built_in() {
  static const std::vector<json::Value> kSilu = {"silu", "swish"};
  static const std::vector<json::Value> kGelu = {"gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh"};
  static const std::vector<BuiltIn> kAll = {
      {"hidden_act",
       "silu",
       kSilu,
       {"llama",       "mistral",      "qwen2",    "qwen2_moe",  "qwen3",   "qwen3_moe",        "qwen3_next",
        "mixtral",     "olmo2",        "olmo3",    "olmoe",      "phi3",    "phimoe",           "deepseek_v2",
        "deepseek_v3", "deepseek_v32", "dots1",    "ernie4_5",   "exaone4", "ernie4_5_moe",     "glm",
        "glm4",        "glm4_moe",     "granite",  "granitemoe", "helium",  "hunyuan_v1_dense", "internlm3",
        "cohere",      "cohere2",      "minicpm3", "ministral3", "minimax", "seed_oss",         "smollm3",
        "stablelm"}},
      {"hidden_act", "gelu", kGelu, {"gpt_neox"}},
      {"hidden_act", "gelu_new", kGelu, {"phi"}},
      {"hidden_act", "gelu_pytorch_tanh", kGelu, {"starcoder2"}},
      {"activation_function", "gelu_new", kGelu, {"gpt2", "gptj"}},
      {"activation_function", "gelu_pytorch_tanh", kGelu, {"gpt_bigcode"}},
      {"attention_bias",
       false,
       {false},
       {"afmoe", "gemma", "gemma2", "gemma3_text", "mellum", "mimo_v2_flash", "nanochat", "qwen3", "qwen3_moe",
        "smollm3"}},
      {"attention_bias", true, {true}, {"gpt_neox", "gpt_oss"}},
      {"attention_bias", false, {true}, {"phimoe"}},
      {"lm_head_bias", false, {true}, {"phimoe"}},
      {"mlp_bias", false, {false}, {"deepseek_v2", "deepseek_v32", "minicpm3", "smollm3"}},
      {"qkv_bias", true, {true}, {"qwen2_moe"}},
      {"use_bias", true, {true}, {"starcoder2"}},
      {"clip_qkv", nullptr, {nullptr}, {"olmoe"}},
      {"qk_layernorm", false, {false}, {"phi"}},
      {"scale_attn_weights", true, {true}, {"gpt2", "gpt_bigcode"}},
      {"scale_attn_by_inverse_layer_idx", false, {false}, {"gpt2"}},
      {"rope_interleave", true, {true}, {"deepseek_v3", "glm4_moe_lite"}},
      {"norm_topk_prob", false, {false}, {"qwen2_moe"}},
      {"decoder_sparse_step", 1, {1}, {"qwen2_moe"}},
      {"mlp_only_layers", json::Array(), {json::Array()}, {"qwen2_moe"}}};
  return kAll;
}

// Keys without which a class does not start, beside those every configuration of its family has.
struct Needs {
  std::string_view model_type;
  std::vector<std::string_view> keys;
};

const std::vector<Needs>& needs() {
  static const std::vector<Needs> kAll = {{"apertus", {"mlp_bias", "post_norm", "qk_norm"}},
                                          {"bailing_hybrid", {"group_norm_size", "num_shared_experts"}},
                                          {"exaone_moe", {"is_moe_layer"}},
                                          {"glm_moe_dsa", {"topk_method", "scoring_func", "moe_layer_freq"}},
                                          {"gpt2", {"n_ctx"}},
                                          {"kimi_linear", {"head_dim", "linear_attn_config", "model_max_length"}},
                                          {"lfm2", {"block_dim"}},
                                          {"longcat_flash", {"attention_method", "zero_expert_type"}},
                                          {"mamba", {"intermediate_size"}},
                                          {"mamba2", {"intermediate_size"}},
                                          {"mimo_v2_flash", {"hybrid_layer_pattern", "moe_layer_freq"}},
                                          {"minimax", {"shared_intermediate_size", "rotary_dim"}},
                                          {"olmo", {"d_model", "n_layers", "mlp_hidden_size", "n_heads"}}};
  return kAll;
}

std::string type_of(const json::Object& config) {
  return json::get_string(config, "model_type", kWhat).value_or("");
}

bool equal(const json::Value& a, const json::Value& b) {
  return a == b || (a.is_number() && b.is_number() && a.to_number<double>() == b.to_number<double>());
}

// Widths that a class derives from another one.
Verdict supports_widths(const json::Object& config, std::string_view type) {
  struct Derived {
    std::string_view model_type, key, from;
  };
  static constexpr std::array kDerived = {Derived{"gpt_neox", "intermediate_size", "hidden_size"},
                                          Derived{"gpt2", "n_inner", "n_embd"}, Derived{"gptj", "n_inner", "n_embd"}};
  constexpr int64_t kTimes = 4;
  for (const Derived& entry : kDerived) {
    if (entry.model_type != type) continue;
    const auto given = json::get_int(config, entry.key, kWhat), from = json::get_int(config, entry.from, kWhat);
    if (given && from && *given != kTimes * *from)
      return Verdict::no(str("mlx-lm's class for model_type '", type, "' makes its MLP 4 x '", entry.from,
                             "' wide, and config.json says '", entry.key, "' ", *given));
  }
  return Verdict::yes();
}

// These take kv_b_proj apart when they load, and round the parts once more where it is packed.
constexpr std::array<std::string_view, 11> kSplitsKeysAndValues = {
    "bailing_hybrid", "bailing_moe_v3", "deepseek_v3", "deepseek_v32",  "glm4_moe_lite", "joyai_llm_flash",
    "kimi_k2",        "kimi_k3",        "kimi_linear", "longcat_flash", "mistral4"};

}  // namespace

Verdict supports_packed(const QuantPlan& plan) {
  if (plan.model_type == "bitnet")
    return Verdict::no("mlx-lm's class for model_type 'bitnet' has ternary layers of its own and takes no packed ones");
  const bool splits = std::find(kSplitsKeysAndValues.begin(), kSplitsKeysAndValues.end(), plan.model_type) !=
                      kSplitsKeysAndValues.end();
  if (!splits) return Verdict::yes();
  for (const LayerPlan& layer : plan.layers)
    if (layer.quantized() && layer.name.ends_with(".kv_b_proj"))
      return Verdict::no(str("mlx-lm's class for model_type '", plan.model_type,
                             "' takes 'kv_b_proj' apart and rounds the ", "parts a second time, and '", layer.name,
                             "' would be packed; pass --ignore_layers kv_b_proj"));
  return Verdict::yes();
}

Verdict supports_settings(const json::Object& config) {
  const std::string type = type_of(config);
  for (const BuiltIn& entry : built_in()) {
    if (std::find(entry.model_types.begin(), entry.model_types.end(), type) == entry.model_types.end()) continue;
    const json::Value* given = json::find(config, entry.key);
    const json::Value& value = given == nullptr ? entry.absent : *given;
    if (std::any_of(entry.values.begin(), entry.values.end(), [&](const json::Value& v) { return equal(v, value); }))
      continue;
    return Verdict::no(str("mlx-lm's class for model_type '", type, "' has '", entry.key, "' ",
                           json::dump(entry.values.front()), " built in, and here it is ",
                           printable(json::dump(value), 60),
                           given == nullptr ? ", which config.json leaves to its default" : ""));
  }
  return supports_widths(config, type);
}

Verdict has_needed_settings(const json::Object& config) {
  const std::string type = type_of(config);
  for (const Needs& entry : needs()) {
    if (entry.model_type != type) continue;
    for (const std::string_view key : entry.keys)
      if (json::find(config, key) == nullptr)
        return Verdict::no(str("mlx-lm's class for model_type '", type, "' does not start without '", key,
                               "', which config.json does not have"));
  }
  return Verdict::yes();
}

}  // namespace arkit::mlx
