#include <arkit/sdk/old_buffers.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace arkit::sdk {

bool is_old_buffer(const TensorInfo& tensor) {
  static constexpr std::array<std::string_view, 6> kEndings = {".masked_bias", ".inv_freq",     ".cos_cached",
                                                               ".sin_cached",  ".position_ids", ".attention_mask"};
  const std::string_view name = tensor.name;
  if (std::any_of(kEndings.begin(), kEndings.end(), [&](std::string_view end) { return name.ends_with(end); }))
    return true;
  // The causal mask, [1, 1, positions, positions].
  const bool mask = tensor.shape.size() == 4 || tensor.dtype == at::kBool || tensor.dtype == at::kByte;
  return mask && (name.ends_with(".attn.bias") || name.ends_with(".attention.bias") || name.ends_with("_attn.bias"));
}

}  // namespace arkit::sdk
