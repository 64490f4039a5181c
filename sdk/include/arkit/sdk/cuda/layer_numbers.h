#pragma once
// What a layer's weights are, from what the host gives of them ("codes", "scale" ... of arkit/scheme.h): codes, and a
// float32 factor and zero point a group. On the CPU, at preparing; the same for kernels of several plugins.

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include <arkit/sdk/backend.h>
#include <arkit/sdk/cuda/fragments.h>
#include <arkit/sdk/element_grid.h>
#include <arkit/sdk/float_at.h>

namespace arkit::cuda {

inline std::string layer_text(const sdk::LinearSpec& layer) {
  return "layer '" + std::string(layer.name) + "'";
}

// Which numbers a layer's codes are; a text why not where these kernels have none.
struct NumbersOf {
  Numbers numbers = Numbers::integers;
  int bits = 0;  // of a code
  std::string why_not;

  explicit NumbersOf(const sdk::LinearSpec& layer) {
    const sdk::QuantSpec& weight = layer.weight;
    const std::string_view type = weight.data_type;
    bits = weight.bits;
    if (!weight.quantized())
      why_not = layer_text(layer) + " is not quantized";
    else if (!layer.rotation.empty())
      why_not = layer_text(layer) + " needs the online rotation '" + std::string(layer.rotation) + "'";
    else if (weight.super_bits > 0)
      why_not = layer_text(layer) + " has super-blocks";
    else if ((type == "int" || type == "mx_int") && bits >= 2 && bits <= 8)
      numbers = Numbers::integers;
    else if (bits == 4 && (type.starts_with("mx_fp") || type.starts_with("nv_fp") || type == "nvfp4_v2"))
      numbers = Numbers::e2m1;
    else if (bits == 8 && (type == "fp8_e5m2" || type == "mx_fp8e5m2"))
      numbers = Numbers::e5m2;
    else if (bits == 8 && (type == "fp" || type.starts_with("mx_fp")))
      numbers = Numbers::e4m3;
    else
      why_not = layer_text(layer) + " has " + std::to_string(bits) + "-bit '" + std::string(type) + "' weights";
  }
};

// value = factor * (code - middle - zero) for integers, middle being 2^(bits-1); factor * float(code) for others.
struct LayerNumbers {
  Numbers numbers = Numbers::integers;
  int bits = 0;
  int64_t outputs = 0, inputs = 0, group = 0, groups = 0;
  std::vector<uint8_t> codes;         // [outputs, inputs]
  std::vector<float> factors, zeros;  // [outputs, groups]; zeros empty = 0
  std::vector<int32_t> group_of;      // [inputs]: act order; empty = runs of `group`
  std::vector<float> bias;            // [outputs] or empty

  LayerNumbers() = default;
  LayerNumbers(const sdk::LinearSpec& layer, const sdk::Weights& weights) {
    const NumbersOf known(layer);
    if (!known.why_not.empty()) throw sdk::BackendError(ARKIT_UNSUPPORTED, known.why_not);
    numbers = known.numbers;
    bits = known.bits;
    outputs = layer.out_features;
    inputs = layer.in_features;
    read_codes(layer, weights);
    read_factors(layer, weights);
    if (numbers == Numbers::integers) read_zeros(layer, weights);
    read_order(layer, weights);
    if (layer.has_bias) {
      const auto tensor = weights.packed("bias");
      if (!tensor || tensor->count() != static_cast<size_t>(outputs))
        bad(layer, "it has no bias tensor of its " + std::to_string(outputs) + " outputs");
      for (size_t i = 0; i < tensor->count(); ++i) bias.push_back(sdk::float_at(*tensor, i));
    }
  }

 private:
  [[noreturn]] static void bad(const sdk::LinearSpec& layer, const std::string& what) {
    throw sdk::BackendError(ARKIT_BAD_INPUT, layer_text(layer) + ": " + what);
  }

  void read_codes(const sdk::LinearSpec& layer, const sdk::Weights& weights) {
    const auto tensor = weights.unpacked("codes");
    if (!tensor || tensor->shape.size() != 2 || tensor->shape[0] != outputs || tensor->shape[1] != inputs ||
        sdk::bytes_of(tensor->type) != 1)
      bad(layer, "its codes are no bytes [" + std::to_string(outputs) + ", " + std::to_string(inputs) + "]");
    const auto bytes = tensor->values<const uint8_t>();
    codes.assign(bytes.begin(), bytes.end());
    const unsigned end = 1U << bits;
    for (uint8_t& code : codes) {
      if (code >= end)
        bad(layer, "code " + std::to_string(code) + " does not fit into " + std::to_string(bits) + " bits");
      const bool nan = (numbers == Numbers::e4m3 && (code & 0x7FU) == 0x7FU) ||
                       (numbers == Numbers::e5m2 && (code & 0x7CU) == 0x7CU);
      if (nan) bad(layer, "a weight is not finite");
      if (layer.weight.data_type == "mx_int") {  // sign and magnitude
        const unsigned sign = end / 2, size = code & (sign - 1);
        code = static_cast<uint8_t>((code & sign) != 0 ? sign - size : sign + size);
      }
    }
  }

  // Scales of a tensor, of blocks of rows, of rows or of groups, as one a row and group.
  void read_factors(const sdk::LinearSpec& layer, const sdk::Weights& weights) {
    const sdk::QuantSpec& quant = layer.weight;
    group = quant.group_size > 0 ? std::min(quant.group_size, inputs) : inputs;
    groups = (inputs + group - 1) / group;
    const auto scale = weights.unpacked("scale");
    if (!scale) bad(layer, "it has no scales");
    const int64_t rows = quant.block_rows > 0 ? (outputs + quant.block_rows - 1) / quant.block_rows : outputs;
    const bool one = scale->count() == 1;
    if (!one && scale->count() != static_cast<size_t>(rows * groups))
      bad(layer, "it has " + std::to_string(scale->count()) + " scales, expected " + std::to_string(rows * groups));
    float unit = 1;
    if (quant.data_type == "mx_int") unit = std::ldexp(1.0F, 2 - bits);
    if (const auto global = weights.unpacked("global_scale")) unit /= sdk::float_at(*global, 0);
    const bool bytes = scale->type == ARKIT_UINT8 || scale->type == ARKIT_FLOAT8_E8M0;
    for (int64_t row = 0; row < outputs; ++row)
      for (int64_t g = 0; g < groups; ++g) {
        const int64_t scale_row = quant.block_rows > 0 ? row / quant.block_rows : row;
        const auto at = one ? size_t{0} : static_cast<size_t>(scale_row * groups + g);
        float value = 0;
        if (bytes) {
          const uint8_t byte = scale->values<const uint8_t>()[at];
          value = quant.data_type == "nvfp4_v2" ? sdk::ue5m3_to_float(byte) : sdk::e8m0_to_float(byte);
        } else {
          value = sdk::float_at(*scale, at);
        }
        factors.push_back(value * unit);
      }
    for (const float factor : factors)
      if (!std::isfinite(factor)) bad(layer, "a scale is not finite");
  }

  // A zero point less the middle; what a format adds instead (`offset`) as the zero point that does the same.
  void read_zeros(const sdk::LinearSpec& layer, const sdk::Weights& weights) {
    const auto zero = weights.unpacked("zero_point"), offset = weights.unpacked("offset");
    if (!zero && !offset) return;
    for (const auto* tensor : {&zero, &offset})
      if (*tensor && (*tensor)->count() != factors.size() && (*tensor)->count() != 1)
        bad(layer, "it has " + std::to_string((*tensor)->count()) + " zero points, expected " +
                       std::to_string(factors.size()));
    const auto middle = static_cast<float>(1 << (bits - 1));
    zeros.resize(factors.size());
    const auto value = [](const sdk::TensorView& tensor, size_t i) {
      return sdk::float_at(tensor, tensor.count() == 1 ? 0 : i);
    };
    for (size_t i = 0; i < zeros.size(); ++i) {
      float& at = zeros[i] = (zero ? value(*zero, i) : (offset ? 0.0F : middle)) - middle;
      if (!offset) continue;
      const float added = value(*offset, i);
      if (factors[i] != 0) {
        at -= added / factors[i];
      } else if (added != 0) {  // a constant group: code 0, which stands for -factor * (middle + zero)
        const auto row = static_cast<int64_t>(i) / groups, g = static_cast<int64_t>(i) % groups;
        const int64_t end = std::min(inputs, (g + 1) * group);
        std::fill(codes.begin() + row * inputs + g * group, codes.begin() + row * inputs + end, uint8_t{0});
        factors[i] = 1;
        at = -middle - added;
      }
      if (!std::isfinite(at)) bad(layer, "a zero point is not finite");
    }
    if (std::all_of(zeros.begin(), zeros.end(), [](float z) { return z == 0; })) zeros.clear();
  }

  void read_order(const sdk::LinearSpec& layer, const sdk::Weights& weights) {
    const auto index = weights.unpacked("group_index");
    if (!index) return;
    const auto values = index->values<const int32_t>();
    if (values.size() != static_cast<size_t>(inputs)) bad(layer, "group_index does not have one group an input");
    group_of.assign(values.begin(), values.end());
    for (size_t i = 0; i < group_of.size(); ++i)
      if (group_of[i] < 0 || group_of[i] >= groups)
        bad(layer, "input " + std::to_string(i) + " is in group " + std::to_string(group_of[i]) + " of " +
                       std::to_string(groups));
    bool plain = true;
    for (size_t i = 0; i < group_of.size(); ++i) plain = plain && group_of[i] == static_cast<int64_t>(i) / group;
    if (plain) group_of.clear();
  }
};

}  // namespace arkit::cuda
