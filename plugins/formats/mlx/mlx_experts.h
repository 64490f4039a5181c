#pragma once
// Experts of a mixture, which checkpoints store one by one and mlx-lm's classes keep as one tensor a projection:
//
//   model.layers.0.mlp.experts.{e}.up_proj.weight    [out, words]  ->  model.layers.0.mlp.switch_mlp.up_proj.weight
//   model.layers.0.block_sparse_moe.experts.{e}.w3.scales [out, G] ->  ...block_sparse_moe.switch_mlp.up_proj.scales
//                                                                      [experts, out, ...]

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include <arkit/descriptors.h>
#include <arkit/model_source.h>
#include <arkit/sdk/hf_export.h>

namespace arkit::mlx {

class ExpertStacks {
 public:
  // Of the plan's experts, where the class of plan.model_type wants them stacked; else nothing moves.
  explicit ExpertStacks(const QuantPlan& plan);

  // Of a tensor, or of a layer by its name without a suffix.
  [[nodiscard]] sdk::TensorPlace place(std::string_view name) const;

 private:
  bool stacks_ = false;
  std::map<std::string, int64_t, std::less<>> experts_;  // by stacked layer
};

// Can the class take the experts as the plan rounds them?
[[nodiscard]] Verdict supports_experts(const QuantPlan& plan);

// Of an expert's layer, the module mlx-lm keeps it in; of others their own name.
[[nodiscard]] std::string stacked_name(const std::string& layer);

// The way back: stacked tensors of a folder shown as those of single experts. The folder itself where it has none.
[[nodiscard]] std::unique_ptr<ModelSource> unstack_experts(std::unique_ptr<ModelSource> folder);

}  // namespace arkit::mlx
