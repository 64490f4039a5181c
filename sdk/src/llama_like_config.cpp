// config.json of llama-like families -> LlamaLikeConfig.
#include <algorithm>

#include <arkit/error.h>
#include <arkit/sdk/llama_like.h>
#include <arkit/str.h>

namespace arkit::sdk {
namespace {

// Far above any model there is, far below what overflows a product of two.
constexpr int64_t kMaxWidth = int64_t{1} << 22;
constexpr int64_t kMaxVocab = int64_t{1} << 26;
constexpr int64_t kMaxBlocks = 4096;
constexpr int64_t kMaxHeads = 65536;
constexpr int64_t kMaxPositions = int64_t{1} << 32;

}  // namespace

Verdict match_model_type(const json::Object& config, const AdapterInfo& info) {
  const json::Value* given = json::find(config, "model_type");
  const std::string_view type = given != nullptr && given->is_string() ? std::string_view(given->get_string()) : "";
  if (std::find(info.model_types.begin(), info.model_types.end(), type) != info.model_types.end())
    return Verdict::yes();
  return Verdict::no(str("model_type '", printable(type), "' is not of family ", info.name));
}

std::string config_name(const ModelSource& source) {
  return str("config.json of '", source.path().string(), "'");
}

LlamaLikeConfig read_llama_like(const ConfigReader& config, const LlamaLikeDefaults& defaults) {
  LlamaLikeConfig c;
  c.vocab_size = config.positive("vocab_size", defaults.vocab_size, kMaxVocab);
  c.hidden_size = config.positive("hidden_size", defaults.hidden_size, kMaxWidth);
  c.intermediate_size = config.positive("intermediate_size", defaults.intermediate_size, kMaxWidth);
  c.num_blocks = config.positive("num_hidden_layers", defaults.num_blocks, kMaxBlocks);
  c.heads = config.positive("num_attention_heads", defaults.heads, kMaxHeads);
  c.kv_heads = config.positive("num_key_value_heads", defaults.kv_heads.value_or(c.heads), kMaxHeads);
  c.head_dim =
      config.positive("head_dim", defaults.head_dim.value_or(std::max<int64_t>(1, c.hidden_size / c.heads)), kMaxHeads);
  c.max_positions = config.positive("max_position_embeddings", defaults.max_positions, kMaxPositions);
  c.rms_norm_eps = config.number("rms_norm_eps", defaults.rms_norm_eps, 0.0, 1.0);
  if (c.heads % c.kv_heads != 0)
    throw_input(str(config.what(), ": 'num_attention_heads' ", c.heads, " is not a multiple of 'num_key_value_heads' ",
                    c.kv_heads));
  const std::string activation = config.text("hidden_act", "silu");
  const std::optional<Activation> found = find_activation(activation);
  if (!found)
    throw_unsupported(str(config.what(), ": unknown 'hidden_act' '", printable(activation),
                          "'; expected silu, gelu, gelu_pytorch_tanh or relu"));
  c.activation = *found;
  c.windows.assign(static_cast<size_t>(c.num_blocks), 0);
  const json::Object rope = normalise_rope(config.object(), defaults.rope_theta, config.what());
  c.rope = read_rope(rope, c.head_dim, c.max_positions, false, config.what());
  return c;
}

std::vector<int64_t> block_windows(const ConfigReader& config, int64_t num_blocks, std::optional<int64_t> window,
                                   bool (*rule)(int64_t block, int64_t arg), int64_t arg) {
  std::vector<int64_t> windows(static_cast<size_t>(num_blocks), 0);
  if (!window) return windows;
  const std::optional<std::vector<std::string>> types = config.texts("layer_types");
  if (types && static_cast<int64_t>(types->size()) < num_blocks)
    throw_input(str(config.what(), ": 'layer_types' has ", types->size(), " entries for ", num_blocks, " blocks"));
  for (int64_t i = 0; i < num_blocks; ++i) {
    const size_t at = static_cast<size_t>(i);
    if (types && (*types)[at] != "full_attention" && (*types)[at] != "sliding_attention")
      throw_unsupported(str(config.what(), ": unknown entry '", printable((*types)[at]),
                            "' in 'layer_types'; expected full_attention or sliding_attention"));
    const bool sliding = types ? (*types)[at] == "sliding_attention" : rule(i, arg);
    if (sliding) windows[at] = *window;
  }
  return windows;
}

}  // namespace arkit::sdk
