#include "layer_codes.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include <arkit/sdk/element_grid.h>
#include <arkit/sdk/float_at.h>

namespace arkit::ark {
namespace {

std::string named(const sdk::LinearSpec& layer) {
  return "layer '" + std::string(layer.name) + "'";
}

[[noreturn]] void bad(const sdk::LinearSpec& layer, const std::string& what) {
  throw sdk::BackendError(ARKIT_BAD_INPUT, named(layer) + ": " + what);
}

}  // namespace

bool is_e2m1(const sdk::QuantSpec& quant) {
  const std::string_view type = quant.data_type;
  return quant.bits == 4 && (type.starts_with("mx_fp") || type.starts_with("nv_fp") || type == "nvfp4_v2");
}

bool is_float8(const sdk::QuantSpec& quant) {
  const std::string_view type = quant.data_type;
  return quant.bits == 8 &&
         (type == "fp" || type == "fp8_e5m2" || type == "mx_fp" || type == "mx_fp_rceil" || type == "mx_fp8e5m2");
}

std::vector<float> floats_of(const sdk::TensorView& tensor) {
  std::vector<float> values(tensor.count());
  for (size_t i = 0; i < values.size(); ++i) values[i] = sdk::float_at(tensor, i);
  return values;
}

std::string why_no_codes(const sdk::LinearSpec& layer) {
  const sdk::QuantSpec& weight = layer.weight;
  const std::string kind = std::to_string(weight.bits) + "-bit '" + std::string(weight.data_type) + "'";
  if (!weight.quantized()) return named(layer) + " is not quantized";
  if (!layer.rotation.empty()) return named(layer) + " needs the online rotation '" + std::string(layer.rotation) + "'";
  if (weight.block_rows > 0 && !is_float8(weight)) return named(layer) + " has scales of two-dimensional blocks";
  if (weight.super_bits > 0) return named(layer) + " has super-blocks";
  const bool integers =
      (weight.data_type == "int" || weight.data_type == "mx_int") && weight.bits >= 2 && weight.bits <= 8;
  if (!integers && !is_e2m1(weight) && !is_float8(weight)) return named(layer) + " has " + kind + " weights";
  return {};
}

LayerCodes::LayerCodes(const sdk::LinearSpec& layer, const sdk::Weights& weights) {
  view.out_features = layer.out_features;
  view.in_features = layer.in_features;
  view.group_size = layer.weight.group_size;
  view.bits = layer.weight.bits;
  const auto codes = weights.unpacked("codes");
  if (!codes || codes->shape.size() != 2 || codes->shape[0] != layer.out_features ||
      codes->shape[1] != layer.in_features)
    bad(layer, "its codes do not have the layer's shape");
  view.codes = codes->values<const uint8_t>();
  read_groups(layer, weights);
  if (layer.weight.data_type == "int")
    read_integers(layer, weights);
  else if (is_float8(layer.weight))
    read_float8(layer, weights);
  else
    read_floats(layer, weights);
  view.scales = scales_;
  view.zeros = zeros_;
  view.offsets = offsets_;
  view.table = table_;
}

void LayerCodes::read_groups(const sdk::LinearSpec& layer, const sdk::Weights& weights) {
  const Blocks blocks = Blocks::of(layer.in_features, layer.weight.group_size, layer.weight.bits);
  const auto many = static_cast<size_t>(layer.out_features * blocks.groups);
  const int64_t tall = layer.weight.block_rows;  // rows of a two-dimensional block, each of which gets its scale
  const auto spread = [&](std::vector<float>& of) {
    const auto groups = static_cast<size_t>(blocks.groups);
    if (tall <= 0 || of.size() != static_cast<size_t>((layer.out_features + tall - 1) / tall) * groups) return;
    std::vector<float> rows;
    rows.reserve(many);
    for (size_t n = 0; n < static_cast<size_t>(layer.out_features); ++n) {
      const auto from = of.begin() + static_cast<ptrdiff_t>(n / static_cast<size_t>(tall) * groups);
      rows.insert(rows.end(), from, from + static_cast<ptrdiff_t>(groups));
    }
    of = std::move(rows);
  };
  const auto read = [&](const char* name, std::vector<float>& to) {
    const auto tensor = weights.unpacked(name);
    if (!tensor) return;
    to = floats_of(*tensor);
    if (to.size() == 1) to.resize(many, to.front());  // one for the whole tensor
    spread(to);
    if (to.size() != many)
      bad(layer, std::string(name) + " has " + std::to_string(to.size()) + " values, expected " + std::to_string(many));
  };
  const auto scale = weights.unpacked("scale");
  if (!scale) bad(layer, "it has no scales");
  if (scale->type == ARKIT_UINT8) {
    const std::span<const uint8_t> bytes = scale->values<const uint8_t>();
    if (bytes.size() != many)
      bad(layer, "scale has " + std::to_string(bytes.size()) + " values, expected " + std::to_string(many));
    const bool e5m3 = layer.weight.data_type == "nvfp4_v2";
    for (const uint8_t byte : bytes) scales_.push_back(e5m3 ? sdk::ue5m3_to_float(byte) : sdk::e8m0_to_float(byte));
  } else {
    read("scale", scales_);
  }
  read("zero_point", zeros_);
  read("offset", offsets_);
}

void LayerCodes::read_integers(const sdk::LinearSpec& layer, const sdk::Weights& weights) {
  view.zero = offsets_.empty() ? 1 << (view.bits - 1) : 0;
  sort_columns(layer, weights);
}

void LayerCodes::read_float8(const sdk::LinearSpec& layer, const sdk::Weights& weights) {
  const bool wide = layer.weight.data_type == "fp8_e5m2" || layer.weight.data_type == "mx_fp8e5m2";
  view.kind = wide ? CodeKind::e5m2 : CodeKind::e4m3;
  rounding = rounding_of(layer.activation, layer.in_features).value_or(Rounding{});  // else the host rounds
  if (rounding.kind == Rounding::none || layer.activation.dynamic) return;
  const auto limit = weights.unpacked("act_max");
  if (limit) rounding.limit = sdk::float_at(*limit, 0);
  if (!(rounding.limit > 0 && std::isfinite(rounding.limit)))
    bad(layer, "its activations are static but the export has no scale for them that is a positive number");
}

// Signs and magnitudes become whole numbers of the smallest step.
void LayerCodes::read_floats(const sdk::LinearSpec& layer, const sdk::Weights& weights) {
  float step = 0;
  if (is_e2m1(layer.weight)) {
    static constexpr std::array<int, 8> kHalves = {0, 1, 2, 3, 4, 6, 8, 12};
    view.zero = 12;
    for (int code = 0; code < 16; ++code) {
      const int size = kHalves[static_cast<size_t>(code & 7)];
      table_.push_back(static_cast<uint8_t>(view.zero + (code < 8 ? size : -size)));
    }
    step = 0.5F;
  } else {
    const int sign = 1 << (view.bits - 1);
    view.zero = sign;
    codes_.assign(view.codes.begin(), view.codes.end());
    view.codes = codes_;
    for (uint8_t& code : codes_) {
      const int size = code & (sign - 1);
      code = static_cast<uint8_t>((code & sign) != 0 ? sign - size : sign + size);
    }
    step = std::ldexp(1.0F, 2 - view.bits);
  }
  for (float& scale : scales_) scale *= step;
  if (const auto global = weights.unpacked("global_scale")) view.factor = 1.0F / sdk::float_at(*global, 0);
}

// Act order: columns of one group side by side.
void LayerCodes::sort_columns(const sdk::LinearSpec& layer, const sdk::Weights& weights) {
  const auto index = weights.unpacked("group_index");
  if (!index) return;
  const auto width = static_cast<size_t>(layer.in_features);
  const std::span<const int32_t> groups = index->values<const int32_t>();
  if (groups.size() != width) bad(layer, "group_index does not have one group an input");
  order.resize(width);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return groups[static_cast<size_t>(a)] < groups[static_cast<size_t>(b)];
  });
  const int64_t group = Blocks::of(layer.in_features, layer.weight.group_size, view.bits).group;
  for (size_t k = 0; k < width; ++k)
    if (groups[static_cast<size_t>(order[k])] != static_cast<int32_t>(static_cast<int64_t>(k) / group))
      throw sdk::BackendError(ARKIT_UNSUPPORTED, named(layer) + ": its groups differ in size");
  codes_.assign(view.codes.begin(), view.codes.end());
  view.codes = codes_;
  std::vector<uint8_t> row(width);
  for (auto codes = codes_.begin(); codes != codes_.end(); codes += static_cast<ptrdiff_t>(width)) {
    for (size_t k = 0; k < width; ++k) row[k] = codes[static_cast<ptrdiff_t>(order[k])];
    std::copy(row.begin(), row.end(), codes);
  }
}

}  // namespace arkit::ark
