#include <arkit/sdk/channel_scales.h>

#include <ATen/ATen.h>

namespace arkit::sdk {

at::Tensor column_scales(const ScalePlace& place, const at::Tensor& scales) {
  if (place.repeats == 1) return scales;
  const int64_t width = place.channels / place.heads;
  return scales.view({place.heads, 1, width}).expand({place.heads, place.repeats, width}).reshape({-1});
}

}  // namespace arkit::sdk
