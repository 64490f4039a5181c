#include "hpu_weight.h"

#include <cmath>

namespace arkit::hpu {

std::string why_not(const sdk::LinearSpec& layer) {
  const cuda::NumbersOf known(layer);
  if (!known.why_not.empty()) return known.why_not;
  const std::string name = cuda::layer_text(layer);
  const sdk::QuantSpec& weight = layer.weight;
  if (weight.data_type != "int" || weight.bits != 4)
    return name + " has " + std::to_string(weight.bits) + "-bit '" + std::string(weight.data_type) +
           "' weights, and the vendor's operator takes integers of 4 bits";
  if (weight.block_rows > 0) return name + " has scales of two-dimensional blocks";
  if (weight.group_size > 0 && layer.in_features % weight.group_size != 0)
    return name + " has " + std::to_string(layer.in_features) + " inputs, which are no whole groups of " +
           std::to_string(weight.group_size);
  if (layer.activation.quantized())
    return name + " has activations of " + std::to_string(layer.activation.bits) +
           " bits, and the vendor's operator multiplies in bfloat16";
  return {};
}

HpuWeight::HpuWeight(const cuda::LayerNumbers& layer, const std::string& name)
    : inputs(layer.inputs),
      outputs(layer.outputs),
      groups(layer.groups),
      columns((layer.outputs + 7) / 8 * 8),
      codes(static_cast<size_t>(inputs * columns / 8)),
      zeros(static_cast<size_t>(groups * columns / 8)),
      scales(static_cast<size_t>(groups * columns)),
      bias(layer.bias) {
  if (!layer.group_of.empty())
    throw sdk::BackendError(ARKIT_UNSUPPORTED, name +
                                                   " has act order, and the vendor's operator takes groups that are "
                                                   "runs of inputs; give --backend torch");
  const auto put = [](std::vector<int32_t>& words, int64_t at, uint32_t nibble) {
    auto& word = words[static_cast<size_t>(at / 8)];
    word = static_cast<int32_t>(static_cast<uint32_t>(word) | nibble << (4 * (at % 8)));
  };
  for (int64_t n = 0; n < outputs; ++n) {
    for (int64_t k = 0; k < inputs; ++k) put(codes, k * columns + n, layer.codes[static_cast<size_t>(n * inputs + k)]);
    for (int64_t g = 0; g < groups; ++g) {
      const auto from = static_cast<size_t>(n * groups + g);
      const float zero = 8 + (layer.zeros.empty() ? 0.0F : layer.zeros[from]);
      if (zero < 0 || zero > 15 || zero != std::floor(zero))
        throw sdk::BackendError(ARKIT_UNSUPPORTED,
                                name + " has the zero point " + std::to_string(zero) +
                                    ", and the vendor's operator takes 0 to 15; give --backend torch");
      put(zeros, g * columns + n, static_cast<uint32_t>(zero));
      scales[static_cast<size_t>(g * columns + n)] = layer.factors[from];
    }
  }
}

}  // namespace arkit::hpu
