#include <arkit/sdk/linear_layers.h>

#include <algorithm>
#include <array>
#include <unordered_set>

#include <ATen/ATen.h>

namespace arkit {
namespace {

constexpr std::string_view kWeight = ".weight";

}  // namespace

bool is_lookup_table(std::string_view name) {
  // "embedding_projection" and "embed_out" are linear layers, whatever they are called.
  static constexpr std::array<std::string_view, 7> kNames = {
      "wte", "wpe", "embed_in", "embed_tokens", "embed_positions", "embed_tokens_per_layer", "relative_attention_bias"};
  static constexpr std::array<std::string_view, 4> kEndings = {"embed", "embeds", "embedding", "embeddings"};
  const std::string_view last = name.substr(name.rfind('.') + 1);  // npos + 1 = 0
  if (name == "shared" || name == "model.shared") return true;     // of encoders and decoders
  return std::find(kNames.begin(), kNames.end(), last) != kNames.end() ||
         std::any_of(kEndings.begin(), kEndings.end(), [&](std::string_view ending) { return last.ends_with(ending); });
}

bool is_plain_linear(const TensorInfo& tensor) {
  const std::string_view name = tensor.name;
  const bool real = at::isFloatingType(tensor.dtype) && c10::elementSize(tensor.dtype) >= 2;
  return real && tensor.shape.size() == 2 && name.ends_with(kWeight) &&
         !is_lookup_table(name.substr(0, name.size() - kWeight.size()));
}

std::vector<std::string> plain_linears(const WeightSource& weights) {
  std::vector<std::string> names;
  for (const TensorInfo& tensor : weights.tensors())
    if (is_plain_linear(tensor)) names.push_back(tensor.name.substr(0, tensor.name.size() - kWeight.size()));
  return names;
}

std::vector<std::string> unplanned_linears(const QuantPlan& plan, const WeightSource& weights) {
  std::unordered_set<std::string_view> planned;
  for (const LayerPlan& layer : plan.layers) planned.insert(layer.name);
  std::vector<std::string> names = plain_linears(weights);
  std::erase_if(names, [&](const std::string& name) { return planned.contains(name); });
  return names;
}

}  // namespace arkit
