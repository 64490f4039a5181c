#include "tuning/aten_int_scheme.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <arkit/sdk/group.h>

namespace arkit::test {
namespace {

at::Tensor grouped(const at::Tensor& weight, const TensorQuant& quant) {
  const sdk::GroupShape shape = sdk::group_shape(weight.size(0), weight.size(1), quant.group_size);
  return at::constant_pad_nd(weight, {0, shape.per_row * shape.group - shape.in}).reshape({-1, shape.group});
}

at::Tensor ungrouped(const at::Tensor& groups, const at::Tensor& weight) {
  return groups.reshape({weight.size(0), -1}).narrow(1, 0, weight.size(1));
}

// Forward round, derivative 1.
at::Tensor round_ste(const at::Tensor& x) {
  return x + (x.round() - x).detach();
}

struct Coded {
  at::Tensor codes, scale, zero_point, value;  // grouped codes (without zero point when sym), [groups, 1], grouped
};

// The scale stays float16 all the way, as in the reference: each gradient that reaches it is rounded to float16 too and
// may overflow there. sign(inf) is 1, sign(NaN) is 0; the loss curves depend on it.
Coded asym(const at::Tensor& w, const at::Tensor& v, const at::Tensor& low, const at::Tensor& high, int bits) {
  const double maxq = (1 << bits) - 1;
  const at::Tensor s = ((high - low) / maxq).to(at::kHalf).clamp_min(1e-5).unsqueeze(1);
  const at::Tensor zp = round_ste(-low.unsqueeze(1) / s);
  const at::Tensor q = (round_ste(w / s + v) + zp).clamp(0, maxq);
  return {q, s, zp, s * (q - zp)};
}

Coded symmetric(const at::Tensor& w, const at::Tensor& v, const at::Tensor& low, const at::Tensor& high, int bits) {
  const double maxq = 1 << (bits - 1);
  const at::Tensor neg = -low, pos = high;
  const at::Tensor sign = at::where(pos < neg, 1.0F, -1.0F);
  at::Tensor s = (sign * at::maximum(pos, neg) / maxq).to(at::kHalf);
  s = at::where(s < 0, s.clamp_max(-1e-5), s.clamp_min(1e-5)).unsqueeze(1);
  const at::Tensor q = round_ste(w / s + v).clamp(-maxq, maxq - 1);
  return {q, s, {}, s * q};
}

Coded encode(const at::Tensor& weight, const sdk::WeightTuning& t, const TensorQuant& quant, const at::Tensor& v,
             const at::Tensor& min_scale, const at::Tensor& max_scale) {
  const at::Tensor w = grouped(weight, quant).to(at::kFloat);
  const at::Tensor low = min_scale.defined() ? t.weight_min * min_scale : t.weight_min;
  const at::Tensor high = max_scale.defined() ? t.weight_max * max_scale : t.weight_max;
  return quant.sym ? symmetric(w, v, low, high, quant.bits) : asym(w, v, low, high, quant.bits);
}

void add_gradient(at::Tensor& sum, const at::Tensor& leaf) {
  if (!leaf.defined() || !leaf.grad().defined()) return;
  if (sum.defined())
    sum.add_(leaf.grad());
  else
    sum = leaf.grad().clone();
}

at::Tensor leaf_of(const at::Tensor& value) {
  return value.defined() ? value.detach().clone().requires_grad_() : at::Tensor();
}

}  // namespace

const SchemeInfo& AtenIntScheme::info() const noexcept {
  static constexpr std::string_view kTypes[] = {"int"};
  static constexpr SchemeInfo kInfo{"aten_int", "differentiable reference", kTypes};
  return kInfo;
}

sdk::WeightTuning AtenIntScheme::begin_tuning(const at::Tensor& weight, const TensorQuant& quant,
                                              const TuningSetup& setup) const {
  last_imatrix = setup.imatrix;
  const at::Tensor groups = grouped(weight, quant);
  sdk::WeightTuning tuning;
  tuning.v = at::zeros(groups.sizes(), at::kFloat);
  tuning.weight_min = std::get<0>(groups.min(1)).clamp_max(0);
  tuning.weight_max = std::get<0>(groups.max(1)).clamp_min(0);
  if (setup.enable_minmax_tuning) {
    tuning.min_scale = at::ones({groups.size(0)}, at::kFloat);
    tuning.max_scale = at::ones({groups.size(0)}, at::kFloat);
  }
  return tuning;
}

void AtenIntScheme::fake_quant_weight(const at::Tensor& weight, const sdk::WeightTuning& tuning,
                                      const TensorQuant& quant, at::Tensor& out) const {
  const Coded coded = encode(weight, tuning, quant, tuning.v, tuning.min_scale, tuning.max_scale);
  out.copy_(ungrouped(coded.value, weight));
}

void AtenIntScheme::fake_quant_weight_backward(const at::Tensor& weight, const sdk::WeightTuning& tuning,
                                               const TensorQuant& quant, const at::Tensor& grad_out,
                                               sdk::WeightGradient& gradient) const {
  const at::AutoGradMode on(true);
  const at::Tensor v = leaf_of(tuning.v), low = leaf_of(tuning.min_scale), high = leaf_of(tuning.max_scale);
  ungrouped(encode(weight, tuning, quant, v, low, high).value, weight).backward(grad_out.to(at::kFloat));
  add_gradient(gradient.v, v);
  add_gradient(gradient.min_scale, low);
  add_gradient(gradient.max_scale, high);
}

// Per-token symmetric quantization, straight-through in x; static_max replaces the token's maximum.
at::Tensor AtenIntScheme::fake_quant_act(const at::Tensor& x, const TensorQuant& quant,
                                         const at::Tensor& static_max) const {
  const double maxq = 1 << (quant.bits - 1);
  const at::Tensor limit = static_max.defined() ? static_max : x.abs().amax(-1, true);
  const at::Tensor s = (limit / maxq).clamp_min(1e-5);
  return (round_ste(x / s).clamp(-maxq, maxq - 1) * s).to(x.scalar_type());
}

QuantizedWeight AtenIntScheme::quantize_tuned(const at::Tensor& weight, const sdk::WeightTuning& tuning,
                                              const TensorQuant& quant) const {
  const Coded coded = encode(weight, tuning, quant, tuning.v, tuning.min_scale, tuning.max_scale);
  const at::Tensor code = quant.sym ? coded.codes + (1 << (quant.bits - 1)) : coded.codes;
  QuantizedWeight out;
  out.codes = ungrouped(code, weight).to(at::kByte);
  out.scale = coded.scale.reshape({weight.size(0), -1}).to(at::kHalf);
  if (!quant.sym) out.zero_point = coded.zero_point.reshape({weight.size(0), -1});
  return out;
}

QuantizedWeight AtenIntScheme::quantize_rtn(const at::Tensor& weight, const TensorQuant& quant, RtnMode mode,
                                            const at::Tensor& imatrix, int64_t, const at::Tensor&) const {
  sdk::WeightTuning tuning = begin_tuning(weight, quant, {});
  last_imatrix = imatrix;
  last_mode = mode;
  return quantize_tuned(weight, tuning, quant);
}

at::Tensor AtenIntScheme::dequantize(const QuantizedWeight& weight, const TensorQuant& quant,
                                     at::ScalarType dtype) const {
  const int64_t group = sdk::group_shape(weight.codes.size(0), weight.codes.size(1), quant.group_size).group;
  const auto spread = [&](const at::Tensor& t) {
    return t.to(at::kFloat).repeat_interleave(group, 1).narrow(1, 0, weight.codes.size(1));
  };
  const at::Tensor zero = quant.sym ? at::full({}, 1 << (quant.bits - 1)) : spread(weight.zero_point);
  return (spread(weight.scale) * (weight.codes.to(at::kFloat) - zero)).to(dtype);
}

}  // namespace arkit::test
