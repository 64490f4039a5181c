#include "tensor_fate.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace arkit::sdk {
namespace {

constexpr std::string_view kWeight = ".weight";

// "model.layers.12.mlp.up_proj.weight" under the list "model.layers" is block 12.
int64_t index_in(std::string_view name, const std::string& list) {
  if (!name.starts_with(list) || name.size() <= list.size() + 1 || name[list.size()] != '.') return -1;
  const char* begin = name.data() + list.size() + 1;
  const char* last = name.data() + name.size();
  int64_t index = -1;
  const auto [end, error] = std::from_chars(begin, last, index);
  return error == std::errc() && end != last && *end == '.' && index >= 0 ? index : -1;
}

// Buffers every loader computes, and another export's static scales of attention: ours are calibrated again.
bool is_rebuilt_buffer(std::string_view name) {
  static constexpr std::array<std::string_view, 6> kEndings = {
      ".rotary_emb.inv_freq", ".k_scale", ".v_scale", ".q_scale", ".k_global_scale", ".v_global_scale"};
  return name == "rope_freqs.weight" ||
         std::any_of(kEndings.begin(), kEndings.end(), [&](std::string_view end) { return name.ends_with(end); });
}

std::string_view parent(std::string_view name) {
  const size_t dot = name.rfind('.');
  return dot == std::string_view::npos ? std::string_view() : name.substr(0, dot);
}

}  // namespace

TensorSorter::TensorSorter(const QuantPlan& plan, bool fused_experts) : plan_(plan) {
  for (const LayerPlan& layer : plan.layers) {
    layers_.emplace(layer.name, &layer);
    // <parent>.experts.<e>.<projection>: two steps up is the module that holds the fused tensors.
    if (fused_experts && layer.kind == LayerKind::expert && layer.quantized())
      expert_parents_.insert(parent(parent(layer.name)));
  }
}

const LayerPlan* TensorSorter::layer(std::string_view name) const {
  const auto found = layers_.find(name);
  return found == layers_.end() ? nullptr : found->second;
}

int64_t TensorSorter::block(std::string_view tensor) const {
  for (const std::string& list : plan_.block_lists)
    if (const int64_t index = index_in(tensor, list); index >= 0) return index;
  return -1;
}

TensorFate TensorSorter::fate(std::string_view tensor) const {
  const bool is_weight = tensor.ends_with(kWeight);
  const std::string_view module = is_weight ? tensor.substr(0, tensor.size() - kWeight.size()) : tensor;
  const LayerPlan* planned = layer(module);
  if (is_weight && planned != nullptr && planned->quantized()) return TensorFate::packed;
  if (expert_parents_.contains(parent(module))) return TensorFate::packed;
  const bool is_head = module == "lm_head" || (planned != nullptr && planned->block < 0);
  if (plan_.tied_embeddings && is_weight && is_head) return TensorFate::tied;
  if (is_rebuilt_buffer(tensor)) return TensorFate::rebuilt;
  // Several block lists share one count: there the last block of each is not known.
  if (plan_.block_lists.size() == 1 && plan_.num_blocks > 0 && block(tensor) >= plan_.num_blocks)
    return TensorFate::extra;
  if (tensor.starts_with("mtp.") || tensor.starts_with("model.mtp.")) return TensorFate::extra;
  return TensorFate::plain;
}

}  // namespace arkit::sdk
