#include "quant/embedding_tables.h"

#include <algorithm>
#include <string_view>

#include <arkit/sdk/layer_rules.h>

namespace arkit {
namespace {

constexpr std::string_view kTableWeight = ".weight";

}  // namespace

std::vector<LayerPlan> embedding_tables(const WeightSource& weights) {
  std::vector<LayerPlan> found;
  for (const TensorInfo& info : weights.tensors()) {
    if (!info.name.ends_with(kTableWeight) || info.shape.size() != 2) continue;
    const std::string name = info.name.substr(0, info.name.size() - kTableWeight.size());
    if (!model_free::is_embedding_table(name)) continue;
    found.push_back(
        {.name = name, .out_features = info.shape[0], .in_features = info.shape[1], .kind = LayerKind::embedding});
  }
  return found;
}

std::optional<LayerPlan> token_table(const ModelLayout& layout) {
  const TokenInfo& tokens = layout.tokens;
  const auto text = std::find_if(layout.lists.begin(), layout.lists.end(), [](const BlockList& l) { return l.text; });
  if (text == layout.lists.end() || !tokens.embedding.ends_with(kTableWeight)) return std::nullopt;
  return LayerPlan{.name = tokens.embedding.substr(0, tokens.embedding.size() - kTableWeight.size()),
                   .out_features = tokens.vocab_size,
                   .in_features = text->hidden_size,
                   .kind = LayerKind::embedding,
                   .role = LayerRole::embedding};
}

}  // namespace arkit
