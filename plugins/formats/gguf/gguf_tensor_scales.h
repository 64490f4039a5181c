#pragma once
// Scales of whole tensors: "blk.3.attn_q.scale" multiplies "blk.3.attn_q.weight", as NVFP4 needs it. What readers round
// activations with ("blk.3.attn_q.input_scale") is left out: activations stay as they are here.

#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "gguf_file.h"

namespace arkit::gguf {

[[nodiscard]] bool is_tensor_scale(std::string_view name) noexcept;

// By the name of the weight. Throws ErrorCode::input for a scale that is no number but 0 in F32, or of no linear layer in
// blocks. `data_of`: where a tensor's bytes are.
using TensorScales = std::map<std::string, float, std::less<>>;
[[nodiscard]] TensorScales read_tensor_scales(const File& file,
                                              const std::function<const std::byte*(const TensorEntry&)>& data_of);

}  // namespace arkit::gguf
