#include "gguf_architecture.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include <arkit/error.h>
#include <arkit/str.h>

#include "rope_factors.h"

namespace arkit::gguf {
namespace {

// Mistral and Falcon3 files call themselves "llama" and are computed like it.
constexpr std::array kArchitectures{Architecture{"llama", "llama", "LlamaForCausalLM", true},
                                    Architecture{"qwen2", "qwen2", "Qwen2ForCausalLM", false},
                                    Architecture{"qwen3", "qwen3", "Qwen3ForCausalLM", false}};

using Names = std::pair<std::string_view, std::string_view>;
constexpr std::array kOuterNames{Names{"token_embd", "model.embed_tokens"}, Names{"output_norm", "model.norm"},
                                 Names{"output", "lm_head"}};
constexpr std::array kBlockNames{
    Names{"attn_norm", "input_layernorm"},    Names{"ffn_norm", "post_attention_layernorm"},
    Names{"attn_q", "self_attn.q_proj"},      Names{"attn_k", "self_attn.k_proj"},
    Names{"attn_v", "self_attn.v_proj"},      Names{"attn_output", "self_attn.o_proj"},
    Names{"attn_q_norm", "self_attn.q_norm"}, Names{"attn_k_norm", "self_attn.k_norm"},
    Names{"ffn_gate", "mlp.gate_proj"},       Names{"ffn_up", "mlp.up_proj"},
    Names{"ffn_down", "mlp.down_proj"},
};

constexpr int64_t kMaxBlocks = 10000;
constexpr int64_t kMaxSize = int64_t{1} << 31;

template <size_t N>
std::string_view look_up(const std::array<Names, N>& table, std::string_view name) {
  const auto it = std::find_if(table.begin(), table.end(), [&](const Names& entry) { return entry.first == name; });
  return it == table.end() ? std::string_view() : it->second;
}

template <size_t N>
std::string_view look_back(const std::array<Names, N>& table, std::string_view name) {
  const auto it = std::find_if(table.begin(), table.end(), [&](const Names& entry) { return entry.second == name; });
  return it == table.end() ? std::string_view() : it->first;
}

// "blk.12." at the front of `name`: the block number, with `name` advanced behind it.
std::optional<int64_t> take_block(std::string_view& name) {
  if (!name.starts_with("blk.")) return std::nullopt;
  int64_t block = -1;
  const char* begin = name.data() + 4;
  const auto [end, error] = std::from_chars(begin, name.data() + name.size(), block);
  const bool canonical = error == std::errc() && block >= 0 && (block == 0 ? end - begin == 1 : *begin != '0');
  if (!canonical || end == name.data() + name.size() || *end != '.') return std::nullopt;
  name.remove_prefix(static_cast<size_t>(end - name.data()) + 1);
  return block;
}

int64_t bounded(const Metadata& metadata, const std::string& key, std::optional<int64_t> value, int64_t most) {
  if (!value) throw_input(str(metadata.file(), ": key '", key, "' is missing"));
  if (*value < 1 || *value > most)
    throw_input(str(metadata.file(), ": '", key, "' is ", *value, ", expected 1 to ", most));
  return *value;
}

// A number, or an array that repeats one number for every block.
std::optional<int64_t> uniform_integer(const Metadata& metadata, const std::string& key) {
  if (!metadata.is_array(key)) return metadata.integer(key);
  const std::vector<int64_t> values = metadata.integers(key, kMaxBlocks);
  if (values.empty()) return std::nullopt;
  if (std::any_of(values.begin(), values.end(), [&](int64_t v) { return v != values.front(); }))
    throw_unsupported(str(metadata.file(), ": '", key, "' differs between blocks, which arkit does not read"));
  return values.front();
}

double positive(const Metadata& metadata, const std::string& key, double fallback) {
  const double value = metadata.number(key).value_or(fallback);
  if (!(value > 0 && value < 1e30))
    throw_input(str(metadata.file(), ": '", key, "' is ", value, ", expected a positive number"));
  return value;
}

// rope_scaling of config.json, or null.
json::Value rope_scaling(const Metadata& metadata, const std::string& prefix, const HyperParameters& parameters,
                         std::span<const float> rope_factors) {
  if (!rope_factors.empty()) return llama3_rope_scaling(rope_factors, parameters, metadata.file());
  const std::string type = metadata.text(prefix + "rope.scaling.type").value_or("none");
  if (type == "none") return nullptr;
  json::Object scaling{{"rope_type", type}};
  scaling["factor"] = positive(metadata, prefix + "rope.scaling.factor", 1.0);
  if (type == "linear") return scaling;
  if (type != "yarn")
    throw_unsupported(
        str(metadata.file(), ": rope scaling '", printable(type), "' is not one arkit reads (linear, yarn)"));
  if (const auto length = metadata.integer(prefix + "rope.scaling.original_context_length"))
    scaling["original_max_position_embeddings"] = *length;
  constexpr std::array kYarn{Names{"yarn_beta_fast", "beta_fast"}, Names{"yarn_beta_slow", "beta_slow"},
                             Names{"yarn_attn_factor", "attention_factor"}};
  for (const auto& [key, name] : kYarn)
    if (const auto value = metadata.number(str(prefix, "rope.scaling.", key))) scaling[name] = *value;
  return scaling;
}

bool has_tensor(const File& file, std::string_view name) {
  return std::any_of(file.tensors.begin(), file.tensors.end(), [&](const TensorEntry& t) { return t.name == name; });
}

// The model's own precision: what quantized tensors came from is bfloat16 in nearly all files.
std::string_view dtype_of(const File& file) {
  const auto all_are = [&](TensorType type) {
    return std::all_of(file.tensors.begin(), file.tensors.end(),
                       [&](const TensorEntry& t) { return t.shape.size() < 2 || t.type->type == type; });
  };
  if (all_are(TensorType::f32)) return "float32";
  return all_are(TensorType::f16) ? "float16" : "bfloat16";
}

void add_token_ids(json::Object& config, const Metadata& metadata) {
  constexpr std::array kIds{Names{"bos", "bos_token_id"}, Names{"eos", "eos_token_id"},
                            Names{"padding", "pad_token_id"}};
  for (const auto& [key, name] : kIds)
    if (const auto id = metadata.integer(str("tokenizer.ggml.", key, "_token_id"))) config[name] = *id;
}

}  // namespace

const Architecture& architecture_of(const Metadata& metadata) {
  const auto name = metadata.text("general.architecture");
  if (!name) throw_input(str(metadata.file(), ": key 'general.architecture' is missing"));
  const auto it =
      std::find_if(kArchitectures.begin(), kArchitectures.end(), [&](const auto& a) { return a.name == *name; });
  if (it == kArchitectures.end())
    throw_unsupported(str(metadata.file(), ": architecture '", printable(*name, 60),
                          "' is not one arkit reads from GGUF (llama, qwen2, qwen3); ",
                          "give the Hugging Face folder of the model instead"));
  return *it;
}

const Architecture* architecture_for(std::string_view model_type) {
  const std::string_view name = model_type == "mistral" ? "llama" : model_type;
  const auto it =
      std::find_if(kArchitectures.begin(), kArchitectures.end(), [&](const auto& a) { return a.name == name; });
  return it == kArchitectures.end() ? nullptr : &*it;
}

std::optional<std::string> gguf_tensor_name(std::string_view name) {
  constexpr std::string_view kBlocks = "model.layers.";
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const std::string_view suffix = name.substr(dot);
  if (suffix != ".weight" && suffix != ".bias") return std::nullopt;
  std::string_view module = name.substr(0, dot);
  if (!module.starts_with(kBlocks)) {
    const std::string_view outer = look_back(kOuterNames, module);
    return outer.empty() ? std::nullopt : std::optional(str(outer, suffix));
  }
  module.remove_prefix(kBlocks.size());
  const size_t end = module.find('.');
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view inner = look_back(kBlockNames, module.substr(end + 1));
  return inner.empty() ? std::nullopt : std::optional(str("blk.", module.substr(0, end), ".", inner, suffix));
}

std::optional<std::string> hf_tensor_name(std::string_view name, int64_t block_count) {
  const std::optional<int64_t> block = take_block(name);
  if (block && *block >= block_count) return std::nullopt;
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const std::string_view suffix = name.substr(dot);
  if (suffix != ".weight" && suffix != ".bias") return std::nullopt;
  const std::string_view module =
      block ? look_up(kBlockNames, name.substr(0, dot)) : look_up(kOuterNames, name.substr(0, dot));
  if (module.empty()) return std::nullopt;
  return block ? str("model.layers.", *block, ".", module, suffix) : str(module, suffix);
}

HyperParameters read_hyper_parameters(const Metadata& metadata, const Architecture& architecture) {
  const std::string prefix = str(architecture.name, ".");
  const auto size = [&](const char* key, int64_t most) {
    return bounded(metadata, prefix + key, uniform_integer(metadata, prefix + key), most);
  };
  if (metadata.integer(prefix + "expert_count").value_or(0) > 0)
    throw_unsupported(str(metadata.file(),
                          ": mixture-of-experts models are not read from GGUF; give the Hugging Face folder instead"));
  HyperParameters p;
  p.block_count = size("block_count", kMaxBlocks);
  p.context_length = size("context_length", kMaxSize);
  p.embedding_length = size("embedding_length", kMaxSize);
  p.feed_forward_length = size("feed_forward_length", kMaxSize);
  p.head_count = size("attention.head_count", kMaxSize);
  p.head_count_kv =
      bounded(metadata, prefix + "attention.head_count_kv",
              uniform_integer(metadata, prefix + "attention.head_count_kv").value_or(p.head_count), p.head_count);
  const auto key_length = metadata.integer(prefix + "attention.key_length");
  if (!key_length && p.embedding_length % p.head_count != 0)
    throw_input(str(metadata.file(), ": embedding_length ", p.embedding_length, " is not divisible by head_count ",
                    p.head_count));
  p.head_dim = bounded(metadata, prefix + "attention.key_length",
                       key_length.value_or(p.embedding_length / p.head_count), kMaxSize);
  const int64_t value_length = metadata.integer(prefix + "attention.value_length").value_or(p.head_dim);
  const int64_t rotary = metadata.integer(prefix + "rope.dimension_count").value_or(p.head_dim);
  if (p.head_dim % 2 != 0 || p.head_count % p.head_count_kv != 0)
    throw_input(str(metadata.file(), ": ", p.head_count, " heads of ", p.head_dim, " over ", p.head_count_kv,
                    " key heads do not fit together"));
  if (value_length != p.head_dim || rotary != p.head_dim)
    throw_unsupported(str(metadata.file(), ": heads of ", p.head_dim, " with values of ", value_length, " and ", rotary,
                          " rotated dimensions are not read from GGUF"));
  p.rms_epsilon = positive(metadata, prefix + "attention.layer_norm_rms_epsilon", -1);
  p.rope_freq_base = positive(metadata, prefix + "rope.freq_base", 10000.0);
  return p;
}

json::Object make_config(const File& file, const Architecture& architecture, const HyperParameters& p,
                         std::span<const float> rope_factors) {
  const Metadata& metadata = file.metadata;
  const auto embedding = std::find_if(file.tensors.begin(), file.tensors.end(),
                                      [](const TensorEntry& t) { return t.name == "token_embd.weight"; });
  if (embedding == file.tensors.end() || embedding->shape.size() != 2)
    throw_input(str(metadata.file(), ": tensor 'token_embd.weight' is missing or no matrix"));
  json::Object config;
  config["architectures"] = json::Array{architecture.class_name};
  config["model_type"] = architecture.model_type;
  config["torch_dtype"] = dtype_of(file);
  config["vocab_size"] = embedding->shape[0];
  config["hidden_size"] = p.embedding_length;
  config["intermediate_size"] = p.feed_forward_length;
  config["num_hidden_layers"] = p.block_count;
  config["num_attention_heads"] = p.head_count;
  config["num_key_value_heads"] = p.head_count_kv;
  config["head_dim"] = p.head_dim;
  config["max_position_embeddings"] = p.context_length;
  config["rms_norm_eps"] = p.rms_epsilon;
  config["rope_theta"] = p.rope_freq_base;
  config["rope_scaling"] = rope_scaling(metadata, str(architecture.name, "."), p, rope_factors);
  config["hidden_act"] = "silu";
  config["tie_word_embeddings"] = !has_tensor(file, "output.weight");
  if (architecture.model_type != "qwen2") config["attention_bias"] = has_tensor(file, "blk.0.attn_q.bias");
  if (architecture.model_type == "llama") config["mlp_bias"] = has_tensor(file, "blk.0.ffn_down.bias");
  add_token_ids(config, metadata);
  return config;
}

}  // namespace arkit::gguf
