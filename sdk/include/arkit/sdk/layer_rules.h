#pragma once
// Guesses, the only file of them: what a checkpoint's tensor names and its config.json say about its linear layers when no model family is known
// (docs/spec/model-free.md 2 and 3).

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/descriptors.h>
#include <arkit/json.h>
#include <arkit/model_source.h>

namespace arkit::model_free {

// "up_proj" of "model.layers.0.mlp.up_proj".
[[nodiscard]] std::string_view last_component(std::string_view name);

// The index that a component of a name is ("12"); nullopt for anything else.
[[nodiscard]] std::optional<int64_t> name_number(std::string_view component);

// "model.layers.0.mlp.experts.2.up_proj" -> list "model.layers", index 0: the first component that is a number.
struct BlockPlace {
  std::string list;
  int64_t index = -1;
};
[[nodiscard]] std::optional<BlockPlace> block_place(std::string_view name);

// May this tensor be the weight of a linear layer: "*.weight", two dimensions, floating point, neither an embedding nor
// a convolution?
[[nodiscard]] bool is_linear_weight(const TensorInfo& tensor);

// Is `layer` (name without ".weight") a table of token embeddings, whose rows are looked up?
[[nodiscard]] bool is_embedding_table(std::string_view layer);

// Is `layer` the matrix that makes logits?
[[nodiscard]] bool is_head_layer(std::string_view layer);

// Experts of a block in one tensor [experts, out, in]: "<p>.experts.<projection>[.weight]", "<p>.moe.<projection>[.weight]".
struct FusedExperts {
  std::string parent;              // "model.layers.0.mlp.experts"
  std::vector<std::string> parts;  // projections stacked along dim 1
  bool out = false;                // does it write the hidden state? Else it reads it
};
[[nodiscard]] std::optional<FusedExperts> fused_experts(const TensorInfo& tensor);

// Is this list one of experts: "model.layers.0.mlp.experts"?
[[nodiscard]] bool is_expert_list(std::string_view list);
// How many routed experts a block has, and the key of config.json that says so; nullopt where none does.
struct ExpertCount {
  std::string_view key;
  int64_t count = 0;
};
[[nodiscard]] std::optional<ExpertCount> expert_count(const json::Object& config);

// Of a right model: may the first or the last of equal blocks alone have, or lack, this module?
[[nodiscard]] bool may_be_single(std::string_view module, const json::Object& config);
// Is it a tensor of a norm in front of a block, by what stands behind the block's name?
[[nodiscard]] bool is_norm_in_front(std::string_view rest);

// The component of a tensor's name by which PEFT and LyCORIS call parts of adapters; empty = none.
[[nodiscard]] std::string_view adapter_part(std::string_view name);
// The component that only blocks for multi-token prediction have, by what stands behind the block's name; empty = none.
[[nodiscard]] std::string_view prediction_part(std::string_view rest);

// The first component of `name` that is one of `parts`; empty = none.
[[nodiscard]] std::string_view component_of(std::string_view name, std::span<const std::string_view> parts);

// Does the name belong to a tower that does not read text: vision, audio?
[[nodiscard]] bool is_other_sense(std::string_view name);

// Rules for one checkpoint: layers that stay as they are.
class LayerRules {
 public:
  explicit LayerRules(const json::Object& config);

  // Why `layer` (name without ".weight") must stay in 16 bits: a router, a tower that sees no text, a rule of its
  // architecture. Empty = quantize.
  [[nodiscard]] std::string why_kept(std::string_view layer) const;

 private:
  struct Part {
    std::string text;
    std::string reason;
  };
  void keep(std::vector<std::string> parts, const std::string& whose);
  std::vector<Part> parts_;  // substrings of names
};

// Layers that serving engines run as one product share this name: q/k/v, gate/up, w1/w3. Empty = on its own.
[[nodiscard]] std::string fused_group(std::string_view layer);

// Fills kind, fused_group, role, expert and experts of a layer from its name; what the name does not show stays.
void guess_layer(LayerPlan& layer);

}  // namespace arkit::model_free
