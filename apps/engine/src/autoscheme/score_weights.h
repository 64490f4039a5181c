#pragma once
// The weights of a loaded block as the options would have them.

#include <limits>
#include <span>
#include <unordered_map>
#include <vector>

#include <ATen/core/Tensor.h>

#include <arkit/model_adapter.h>

#include "autoscheme/score.h"

namespace arkit::auto_scheme {

// An option for every layer of the pool; kLeftAlone = as in the float model.
using Choice = std::vector<size_t>;
inline constexpr size_t kLeftAlone = std::numeric_limits<size_t>::max();

// Importance of input channels for schemes with super-blocks: f32 [in], sum of x^2 over `count` rows.
struct Importance {
  at::Tensor squares;
  int64_t count = 0;
};

// W rounded and back, [out, in] in the weight's dtype; plain rounding (RTN), which schemes with super-blocks search
// first. `plan.quant` says how. `global_scale` may be undefined.
[[nodiscard]] at::Tensor rounded_weight(const Linear& layer, const LayerPlan& plan, const SchemeFor& scheme_for,
                                        const at::Tensor& global_scale, const Importance& importance);

// The layers of one block that are in the pool.
class PoolBlock {
 public:
  struct Layer {
    const Linear* linear = nullptr;
    size_t index = 0;  // in the pool
  };
  // Throws ErrorCode::unsupported for a layer without a weight.
  PoolBlock(std::span<Linear* const> linears, std::span<const PoolLayer> pool,
            const std::unordered_map<std::string_view, size_t>& by_name);

  [[nodiscard]] const std::vector<Layer>& layers() const noexcept { return layers_; }
  // What layer i, in the order of layers(), is quantized to by the given choice of an option for each layer of
  // layers(); global scales are those that fused layers share under that choice.
  struct Rounding {
    LayerPlan plan;  // with its quant
    at::Tensor global_scale;
  };
  [[nodiscard]] std::vector<Rounding> roundings(std::span<const size_t> choice, const SchemeFor& scheme_for) const;

 private:
  std::span<const PoolLayer> pool_;
  std::vector<Layer> layers_;
};

// Names of the pool's layers to their indices; `pool` outlives it.
[[nodiscard]] std::unordered_map<std::string_view, size_t> index_by_name(std::span<const PoolLayer> pool);

}  // namespace arkit::auto_scheme
