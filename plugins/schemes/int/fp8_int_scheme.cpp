#include "fp8_int_scheme.h"

#include <array>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <arkit/error.h>
#include <arkit/sdk/observer.h>
#include <arkit/str.h>

#include "int_tensors.h"

namespace arkit::int_scheme {
namespace {

constexpr std::string_view kName = "fp8_to_int_sym";
constexpr std::array<std::string_view, 1> kDataTypes = {kName};
constexpr SchemeInfo kInfo = {"fp8_int", "8-bit floats rounded to integers of 2 to 8 bits (W4FP8)", kDataTypes};

constexpr double kMax = 448.0;                    // of e4m3
constexpr double kLeastScale = 1 / (kMax * 512);  // docs/spec/integers.md 6

// The second of the two roundings.
TensorQuant integers_of(const TensorQuant& quant) {
  TensorQuant inner = quant;
  inner.data_type = "int";
  inner.scale_dtype = "bfloat16";
  return inner;
}

// The first one: weights in units of `scale` on the e4m3 grid, still in their own dtype.
at::Tensor floats_of(const at::Tensor& weight, const at::Tensor& scale) {
  return (weight / scale.reshape({})).clamp_(-kMax, kMax).to(at::kFloat8_e4m3fn).to(weight.scalar_type());
}

}  // namespace

const SchemeInfo& Fp8IntScheme::info() const noexcept {
  return kInfo;
}

Verdict Fp8IntScheme::supports(const LayerPlan& layer) const {
  if (layer.quant.act.quantized() && layer.quant.act.data_type == kName)
    return Verdict::no(str("activations cannot be '", kName, "'; name another act_data_type, such as fp8"));
  if (!layer.quant.weight.sym) return Verdict::no(str("'", kName, "' is symmetric; sym must stay true"));
  if (Verdict observer = sdk::supports_observer(layer.quant.weight, {}); !observer) return observer;
  LayerPlan inner = layer;
  inner.quant.weight = integers_of(layer.quant.weight);
  return integers_.supports(inner);
}

double Fp8IntScheme::bits_per_weight(const LayerPlan& layer) const {
  LayerPlan inner = layer;
  inner.quant.weight = integers_of(layer.quant.weight);
  return integers_.bits_per_weight(inner);
}

SchemeTraits Fp8IntScheme::traits(const LayerQuant& quant) const {
  return {.independent_rows = sdk::has_independent_rows(quant.weight)};
}

at::Tensor Fp8IntScheme::global_scale(const at::Tensor& weight, const TensorQuant& /*quant*/) const {
  const at::NoGradGuard no_grad;
  return weight.abs().amax().to(at::kFloat).div_(kMax).clamp_min_(kLeastScale).reshape({1});
}

at::Tensor Fp8IntScheme::merge_global_scales(std::span<const at::Tensor> /*scales*/) const {
  return {};
}

WeightTuning Fp8IntScheme::begin_tuning(const at::Tensor& weight, const TensorQuant& quant,
                                        const TuningSetup& setup) const {
  const at::Tensor scale = setup.global_scale.defined() ? setup.global_scale : global_scale(weight, quant);
  TuningSetup inner = setup;
  inner.enable_alg_ext = false;  // docs/spec/signround.md 10 names no search for it
  WeightTuning tuning = integers_.begin_tuning(floats_of(weight, scale), integers_of(quant), inner);
  tuning.global_scale = scale;
  return tuning;
}

void Fp8IntScheme::fake_quant_weight(const at::Tensor& weight, const WeightTuning& tuning, const TensorQuant& quant,
                                     at::Tensor& out) const {
  const at::NoGradGuard no_grad;
  integers_.fake_quant_weight(floats_of(weight, tuning.global_scale), tuning, integers_of(quant), out);
  out.mul_(tuning.global_scale.reshape({}));
}

void Fp8IntScheme::fake_quant_weight_backward(const at::Tensor& weight, const WeightTuning& tuning,
                                              const TensorQuant& quant, const at::Tensor& grad_out,
                                              WeightGradient& gradient) const {
  const at::NoGradGuard no_grad;
  integers_.fake_quant_weight_backward(floats_of(weight, tuning.global_scale), tuning, integers_of(quant),
                                       grad_out * tuning.global_scale.reshape({}), gradient);
}

at::Tensor Fp8IntScheme::fake_quant_act(const at::Tensor& /*x*/, const TensorQuant& quant,
                                        const at::Tensor& /*static_max*/) const {
  throw_unsupported(str("activations cannot be '", quant.data_type, "'; name another act_data_type, such as fp8"));
}

QuantizedWeight Fp8IntScheme::quantize_tuned(const at::Tensor& weight, const WeightTuning& tuning,
                                             const TensorQuant& quant) const {
  const at::NoGradGuard no_grad;
  QuantizedWeight result = integers_.quantize_tuned(floats_of(weight, tuning.global_scale), tuning, integers_of(quant));
  result.global_scale = tuning.global_scale;
  return result;
}

QuantizedWeight Fp8IntScheme::quantize_rtn(const at::Tensor& weight, const TensorQuant& quant, RtnMode /*mode*/,
                                           const at::Tensor& /*imatrix*/, int64_t /*imatrix_count*/,
                                           const at::Tensor& given_scale) const {
  const at::NoGradGuard no_grad;
  const at::Tensor scale = given_scale.defined() ? given_scale : global_scale(weight, quant);
  if (!scale.isfinite().all().item<bool>()) refuse_not_finite();  // e4m3 has no infinity to find it by
  QuantizedWeight result =
      integers_.quantize_rtn(floats_of(weight, scale), integers_of(quant), RtnMode::plain, {}, 0, {});
  result.global_scale = scale.reshape({1});
  return result;
}

at::Tensor Fp8IntScheme::dequantize(const QuantizedWeight& weight, const TensorQuant& quant,
                                    at::ScalarType dtype) const {
  ARKIT_CHECK(weight.global_scale.defined(), "a weight of 8-bit floats has their scale");
  return integers_.dequantize(weight, integers_of(quant), dtype).mul_(weight.global_scale.reshape({}));
}

}  // namespace arkit::int_scheme
