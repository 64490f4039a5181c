#include "tuning/vector_tuning.h"

#include <algorithm>

#include <ATen/ATen.h>

namespace arkit {
namespace {

constexpr float kMaxCode = 15.0F;  // 4 bits, fixed by the reference
constexpr float kSmallestScale = 1e-5F;

}  // namespace

VectorTuning begin_vector_tuning(const at::Tensor& base) {
  VectorTuning tuning{.base = base.detach(), .v = at::zeros(base.sizes(), at::kFloat)};
  const float low = std::min(base.min().item<float>(), 0.0F);
  const float high = std::max(base.max().item<float>(), 0.0F);
  const auto half = static_cast<at::Half>((high - low) / kMaxCode);  // the scale passes through float16
  tuning.scale = std::max(static_cast<float>(half), kSmallestScale);
  tuning.zero_point = -low / tuning.scale;
  return tuning;
}

at::Tensor tuned_vector(const VectorTuning& t) {
  const at::Tensor code = (t.base.to(at::kFloat) / t.scale + t.v + t.zero_point).clamp(0.0, kMaxCode);
  return ((code - t.zero_point) * t.scale).to(t.base.scalar_type());
}

}  // namespace arkit
