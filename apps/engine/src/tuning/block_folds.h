#pragma once
// Transforms at work on a block: they choose channel scales from the samples that reach it, and its weights take them.

#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <arkit/descriptors.h>
#include <arkit/export.h>
#include <arkit/model_adapter.h>
#include <arkit/model_source.h>
#include <arkit/scheme.h>
#include <arkit/sdk/block_hooks.h>

#include "quant/scheme_traits.h"
#include "transform/fold_record.h"
#include "transform/planned_transform.h"
#include "tuning/tune_block.h"

namespace arkit {

// What changed in a block beside the weights of its layers.
struct FoldedBlock {
  std::map<std::string, at::Tensor, std::less<>> norms;   // by tensor, in the dtype they are stored in
  std::map<std::string, at::Tensor, std::less<>> biases;  // by layer, in the source's dtype
  std::vector<std::string> layers;                        // whose weight changed
};

// The folded norms in the place of those the model has loaded.
class FoldedNorms final : public sdk::ForwardingHook {
 public:
  FoldedNorms(BlockHook& inner, const FoldedBlock& block) : ForwardingHook(inner), block_(block) {}
  at::Tensor norm_weight(std::string_view name, const at::Tensor& weight) override;

 private:
  const FoldedBlock& block_;
};

class ARKIT_EXPORT BlockFolds {
 public:
  // `plan` and the tensors of `source` outlive it. `norms`: the dtype norms are stored in. Sums do not depend on the
  // number of threads, whatever the run asks for: a choice that did would change every later layer.
  BlockFolds(const std::vector<PlannedTransform>& transforms, const WeightSource& source, const QuantPlan& plan,
             SchemeFor scheme_for, at::ScalarType norms, int64_t batch_size);

  // `forward` is asked with `folded` in effect, which starts empty and is filled fold by fold. `linears` of a loaded
  // block; their weights and biases are replaced.
  void fold(int64_t block, std::span<Linear* const> linears, const BlockForward& forward, const at::Tensor& input,
            FoldedBlock& folded);

  // What was done so far, one a transform.
  [[nodiscard]] const std::vector<TransformRecord>& records() const noexcept { return records_; }

 private:
  class Scene;
  void apply(const ScalePlace& place, const at::Tensor& scales, Scene& scene, FoldedBlock& folded) const;

  struct Running {
    std::unique_ptr<BlockTransform> transform;
    std::vector<ScalePlace> places;
  };
  std::vector<Running> running_;
  std::vector<TransformRecord> records_;
  const WeightSource& source_;
  std::map<std::string_view, const LayerPlan*> plans_;
  SchemeFor scheme_for_;
  int64_t batch_size_;
};

}  // namespace arkit
