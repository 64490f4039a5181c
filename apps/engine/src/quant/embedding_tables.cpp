#include "quant/embedding_tables.h"

#include <string_view>

#include <arkit/sdk/layer_rules.h>

namespace arkit {

std::vector<LayerPlan> embedding_tables(const WeightSource& weights) {
  std::vector<LayerPlan> found;
  for (const TensorInfo& info : weights.tensors()) {
    constexpr std::string_view kWeight = ".weight";
    if (!info.name.ends_with(kWeight) || info.shape.size() != 2) continue;
    const std::string name = info.name.substr(0, info.name.size() - kWeight.size());
    if (!model_free::is_embedding_table(name)) continue;
    found.push_back(
        {.name = name, .out_features = info.shape[0], .in_features = info.shape[1], .kind = LayerKind::embedding});
  }
  return found;
}

}  // namespace arkit
