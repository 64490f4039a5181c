#pragma once
// config_groups, targets and ignore of a compressed-tensors quantization_config, written from a plan and read back.

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <arkit/descriptors.h>
#include <arkit/json.h>
#include <arkit/model_source.h>
#include <arkit/regex.h>

#include "layouts.h"

namespace arkit::llm_compressor {

// What the plan does not say.
struct ModelFacts {
  std::string_view attention_class;  // what static scales of queries name as their target ("LlamaAttention")
  const WeightSource& weights;       // of the source: its linear layers that are not quantized are listed
  bool model_free = false;           // lists embeddings as left alone, too (docs/spec/model-free.md 5)
};

// The whole quantization_config (docs/spec/format-compressed-tensors.md 3). A model-free run names the class of routed
// experts too, where their projections are not called like those of most models.
[[nodiscard]] json::Object quantization_config(const QuantPlan& plan, const ModelFacts& model);

// Static scales of keys, values and queries: kv_cache_scheme and attention_input_activations.
[[nodiscard]] AttentionQuant read_attention(const json::Object& config);

struct LayerScheme {
  Layout layout = Layout::pack_quantized;
  LayerQuant quant;
};

// Which group a layer belongs to. As loaders do: an exact name wins over a pattern, a pattern over a class name.
class ConfigGroups {
 public:
  explicit ConfigGroups(const json::Object& config);

  [[nodiscard]] const LayerScheme* find(const std::string& layer) const;  // null = no group targets it

 private:
  struct Target {
    std::string name;                // class or name, for "re:" targets the expression
    std::shared_ptr<Regex> pattern;  // null for a name
    size_t group = 0;
  };

  [[nodiscard]] LayerScheme read_group(const json::Object& group, const std::string& format, const std::string& what);
  void read_targets(const json::Object& group, size_t index, const std::string& what);

  std::vector<LayerScheme> groups_;
  std::unordered_map<std::string, size_t> exact_;  // names -> group, the first of equals
  std::vector<Target> targets_;                    // patterns, and what may be the name of a class
};

}  // namespace arkit::llm_compressor
