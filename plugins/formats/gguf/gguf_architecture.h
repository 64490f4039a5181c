#pragma once
// What a GGUF architecture is called in the Hugging Face world: tensor names, row order, config.json
// (docs/spec/gguf-reading.md 4).

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <arkit/json.h>

#include "gguf_file.h"

namespace arkit::gguf {

// One of the architectures arkit reads.
struct Architecture {
  std::string_view name;          // general.architecture: "llama"
  std::string_view model_type;    // config.json: "llama"
  std::string_view class_name;    // "LlamaForCausalLM"
  bool permutes_q_and_k = false;  // rows of q and k stored for interleaved rotary embedding
};

// Throws ErrorCode::unsupported naming the architecture when arkit does not read it.
[[nodiscard]] const Architecture& architecture_of(const Metadata& metadata);

// The architecture a model_type of config.json is written as; null where arkit writes none. Mistral's are llama's.
[[nodiscard]] const Architecture* architecture_for(std::string_view model_type);

// "blk.3.attn_q.weight" -> "model.layers.3.self_attn.q_proj.weight"; nullopt for a name that is not of this family.
// "rope_freqs.weight" has no counterpart: it becomes part of the configuration.
[[nodiscard]] std::optional<std::string> hf_tensor_name(std::string_view name, int64_t block_count);

// The other way; nullopt for a name that has no place in a file.
[[nodiscard]] std::optional<std::string> gguf_tensor_name(std::string_view name);

// Hyper-parameters under their GGUF keys, checked.
struct HyperParameters {
  int64_t block_count = 0, context_length = 0, embedding_length = 0, feed_forward_length = 0;
  int64_t head_count = 0, head_count_kv = 0, head_dim = 0;
  double rms_epsilon = 0, rope_freq_base = 0;
};
[[nodiscard]] HyperParameters read_hyper_parameters(const Metadata& metadata, const Architecture& architecture);

// config.json in the layout every version of transformers reads (rope_theta and rope_scaling at top level).
// `rope_factors` are the values of rope_freqs.weight, empty when the file has none.
[[nodiscard]] json::Object make_config(const File& file, const Architecture& architecture,
                                       const HyperParameters& parameters, std::span<const float> rope_factors);

}  // namespace arkit::gguf
