#pragma once
// Guesses, the only file of them: what a checkpoint's tensor names and its config.json say about its linear layers when no model family is known
// (docs/spec/model-free.md 2 and 3).

#include <cstdint>
#include <optional>
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
