#include "gguf_tensor_scales.h"

#include <cmath>
#include <cstring>
#include <set>
#include <string_view>

#include <arkit/error.h>
#include <arkit/str.h>

#include "gguf_weights.h"

namespace arkit::gguf {
namespace {

constexpr std::string_view kScale = ".scale", kInputScale = ".input_scale";

}  // namespace

bool is_tensor_scale(std::string_view name) noexcept {
  return name.ends_with(kScale) || name.ends_with(kInputScale);
}

TensorScales read_tensor_scales(const File& file, const std::function<const std::byte*(const TensorEntry&)>& data_of) {
  TensorScales scales;
  std::set<std::string_view> layers;
  for (const TensorEntry& tensor : file.tensors)
    if (is_packed_layer(tensor)) layers.insert(tensor.name);
  for (const TensorEntry& tensor : file.tensors) {
    if (!tensor.name.ends_with(kScale)) continue;
    const std::string weight = tensor.name.substr(0, tensor.name.size() - kScale.size()) + ".weight";
    if (!layers.contains(weight))
      throw_input(str(file.metadata.file(), ": tensor '", printable(tensor.name), "' is a scale of '",
                      printable(weight), "', expected a linear layer in blocks of that name"));
    float scale = 0;
    if (tensor.type->type == TensorType::f32 && tensor.bytes == sizeof(scale))
      std::memcpy(&scale, data_of(tensor), sizeof(scale));
    if (scale == 0 || !std::isfinite(scale))
      throw_input(str(file.metadata.file(), ": tensor '", printable(tensor.name),
                      "' is expected to be one number of type F32, finite and not 0"));
    scales.emplace(weight, scale);
  }
  return scales;
}

}  // namespace arkit::gguf
