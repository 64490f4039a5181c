#pragma once
// What becomes of each tensor of the source in an export.

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include <arkit/descriptors.h>

namespace arkit::sdk {

enum class TensorFate {
  plain,    // written under its name
  packed,   // the weight of a quantized layer
  tied,     // the head that is the embedding
  rebuilt,  // a buffer that every loader computes (rotary inv_freq)
  extra     // no model class loads it (blocks for multi-token prediction): a file of their own
};

// The plan's layers by name, and the rules. The plan outlives it.
class TensorSorter {
 public:
  // fused_experts: the source may hold experts as 3-D tensors beside their layers in the plan.
  explicit TensorSorter(const QuantPlan& plan, bool fused_experts = true);

  [[nodiscard]] TensorFate fate(std::string_view tensor) const;
  [[nodiscard]] const LayerPlan* layer(std::string_view name) const;  // null = no linear of the plan
  // The block a tensor lies in; -1 = outside blocks.
  [[nodiscard]] int64_t block(std::string_view tensor) const;

 private:
  const QuantPlan& plan_;
  std::map<std::string_view, const LayerPlan*> layers_;
  std::set<std::string_view> expert_parents_;  // "model.layers.0.mlp.experts" of slices the plan quantizes
};

}  // namespace arkit::sdk
