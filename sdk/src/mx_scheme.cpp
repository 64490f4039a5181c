#include <arkit/sdk/mx_scheme.h>

#include <algorithm>
#include <array>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/sdk/observer.h>
#include <arkit/str.h>

namespace arkit::sdk {
namespace {

// 2^(byte - 127) of bytes that come as f32 or u8.
template <typename T>
at::Tensor powers_of_two(const at::Tensor& bytes) {
  const at::Tensor from = bytes.contiguous();
  at::Tensor out = at::empty(bytes.sizes(), at::kFloat);
  const T* in = from.const_data_ptr<T>();
  auto* data = out.mutable_data_ptr<float>();
  for (int64_t i = 0; i < out.numel(); ++i) data[i] = e8m0_to_float(static_cast<uint8_t>(in[i]));
  return out;
}

// docs/spec/observers.md 3: magnitudes from 1.75 times a power of two on take the next one. In float16 a scale below
// 2^-24 is 0, which becomes 1.
at::Tensor observed_bytes(const at::Tensor& peak, int max_exponent, at::ScalarType dtype) {
  constexpr int kSmallestHalf = 127 - 24, kOne = 127;
  const at::Tensor from = peak.contiguous();
  at::Tensor bytes = at::empty(peak.sizes(), at::kFloat);
  const auto* in = from.const_data_ptr<float>();
  auto* out = bytes.mutable_data_ptr<float>();
  for (int64_t i = 0; i < bytes.numel(); ++i) {
    const int exponent = static_cast<int>((float_bits(in[i]) + 0x200000U) >> 23);
    const int byte = std::clamp(exponent - max_exponent, 0, 254);
    out[i] = static_cast<float>(dtype == at::kHalf && byte < kSmallestHalf ? kOne : byte);
  }
  return bytes;
}

}  // namespace

Verdict supports_whole_groups(const TensorQuant& quant, int64_t in_features, std::string_view what) {
  if (!quant.sym) return Verdict::no(str(what, ": '", quant.data_type, "' is symmetric; sym must stay true"));
  if (quant.block_rows != 0)
    return Verdict::no(
        str(what, ": blocks of ", quant.block_rows, "x", quant.group_size, " need an 8-bit float, data type 'fp'"));
  if (quant.super_bits != 0)
    return Verdict::no(
        str(what, " double quantization (super_bits ", quant.super_bits, ") needs an 'int_*_dq' data type"));
  if (quant.group_size < 1)
    return Verdict::no(str(what, " group_size ", quant.group_size, " is not possible with '", quant.data_type,
                           "'; choose 32 for mx, 16 for nv types"));
  if (in_features % quant.group_size != 0)
    return Verdict::no(str("in_features ", in_features, " is not divisible by the ", what, " group_size ",
                           quant.group_size, " of '", quant.data_type, "'"));
  return Verdict::yes();
}

Preset microscaling_preset(std::string name, std::string summary, std::string_view data_type, int bits,
                           int64_t group_size, std::string_view act_data_type) {
  Preset preset;
  preset.name = std::move(name);
  preset.summary = std::move(summary);
  TensorQuant& weight = preset.quant.weight;
  weight.data_type = data_type;
  weight.bits = bits;
  weight.group_size = group_size;
  preset.quant.act = weight;
  preset.quant.act.data_type = act_data_type;
  return preset;
}

Verdict MxScheme::supports(const LayerPlan& layer) const {
  const auto check = [&](const TensorQuant& quant, std::string_view what) {
    if (Verdict elements = supports_elements(quant, what); !elements) return elements;
    return supports_whole_groups(quant, layer.in_features, what);
  };
  if (layer.quant.weight.quantized()) {
    if (Verdict weight = check(layer.quant.weight, "weight"); !weight) return weight;
    if (Verdict observer = supports_observer(layer.quant.weight, {"minmax", kMse}); !observer) return observer;
  }
  const TensorQuant& act = layer.quant.act;
  if (!act.quantized() ||
      std::find(info().data_types.begin(), info().data_types.end(), act.data_type) == info().data_types.end())
    return Verdict::yes();
  if (!act.dynamic)
    return Verdict::no(str("static activations are not possible with '", act.data_type,
                           "': a scale belongs to 32 values of one token; set act_dynamic true"));
  return check(act, "activation");
}

float MxScheme::ceil_limit(const TensorQuant&) const {
  return 0;
}

// e = floor(log2 peak) - emax; a group of zeros counts as log2 peak = 1. torch's log2 decides close to powers of two,
// as in the reference.
ScaledScheme::Scales MxScheme::scales_of(const at::Tensor& peak, const at::Tensor&, const TensorQuant& quant,
                                         at::ScalarType dtype) const {
  const ElementGrid grid = element_rule(quant).grid;
  if (!quant.observer.empty()) {
    Scales observed;
    observed.coded = observed_bytes(peak, grid.max_exponent, dtype);
    observed.scale = powers_of_two<float>(observed.coded);
    observed.slope = (observed.scale / peak).masked_fill(peak == 0, 0.0);
    return observed;
  }
  const float limit = ceil_limit(quant);
  const at::Tensor zero = peak == 0;
  const at::Tensor exponent = (limit > 0 ? (peak / limit).log2() : peak.log2()).masked_fill(zero, 1.0);
  const at::Tensor e = limit > 0 ? exponent.ceil() : exponent.floor() - grid.max_exponent;
  Scales scales;
  scales.coded = e.clamp(-127, 127) + 127;
  scales.scale = powers_of_two<float>(scales.coded);
  const at::Tensor flat = zero.logical_or(e < -127).logical_or(e > 127);
  scales.slope = (scales.scale / peak).masked_fill(flat, 0.0);
  return scales;
}

at::Tensor MxScheme::encode_scale(const at::Tensor& coded, const TensorQuant&, at::ScalarType) const {
  return coded.to(at::kByte);
}

at::Tensor MxScheme::decode_scale(const at::Tensor& stored, const at::Tensor&, const TensorQuant&) const {
  ARKIT_CHECK(stored.scalar_type() == at::kByte, "scales of microscaling formats are E8M0 bytes");
  return powers_of_two<uint8_t>(stored);
}

int MxScheme::stored_scale_bits(const TensorQuant&) const {
  return 8;
}

std::span<const float> MxScheme::multipliers(const TensorQuant&) const {
  static constexpr std::array<float, 3> kMultipliers = {1.0F, 0.5F, 2.0F};
  return kMultipliers;
}

}  // namespace arkit::sdk
