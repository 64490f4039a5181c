#pragma once
// The arithmetic of scheme `int` in plain LibTorch operators and autograd: what the fused kernels are compared with,
// for value (tests) and for speed (bench).

#include <ATen/ATen.h>

#include <arkit/sdk/autograd_scheme.h>
#include <arkit/sdk/ste.h>

#include "int_scheme.h"

namespace arkit::testing {

class AtenIntScheme final : public sdk::AutogradScheme {
 public:
  const SchemeInfo& info() const noexcept override { return int_.info(); }
  std::span<const Preset> presets() const override { return int_.presets(); }
  Verdict supports(const LayerPlan& layer) const override { return int_.supports(layer); }
  double bits_per_weight(const LayerPlan& layer) const override { return int_.bits_per_weight(layer); }
  SchemeTraits traits(const LayerQuant& quant) const override { return int_.traits(quant); }
  sdk::WeightTuning begin_tuning(const at::Tensor& weight, const TensorQuant& quant,
                                 const TuningSetup& setup) const override {
    return int_.begin_tuning(weight, quant, setup);
  }
  at::Tensor fake_quant_act(const at::Tensor& x, const TensorQuant& quant, const at::Tensor& max) const override {
    return int_.fake_quant_act(x, quant, max);
  }
  QuantizedWeight quantize_tuned(const at::Tensor& weight, const sdk::WeightTuning& tuning,
                                 const TensorQuant& quant) const override {
    return int_.quantize_tuned(weight, tuning, quant);
  }
  QuantizedWeight quantize_rtn(const at::Tensor& weight, const TensorQuant& quant, RtnMode mode,
                               const at::Tensor& imatrix, int64_t count, const at::Tensor& global) const override {
    return int_.quantize_rtn(weight, quant, mode, imatrix, count, global);
  }
  at::Tensor dequantize(const QuantizedWeight& weight, const TensorQuant& quant, at::ScalarType dtype) const override {
    return int_.dequantize(weight, quant, dtype);
  }

 protected:
  at::Tensor formula(const at::Tensor& weight, const sdk::WeightTuning& t, const TensorQuant& quant) const override {
    const at::ScalarType type = quant.scale_dtype == "float32"    ? at::kFloat
                                : quant.scale_dtype == "bfloat16" ? at::kBFloat16
                                                                  : at::kHalf;
    const double floor = type == at::kFloat ? 1e-8 : 1e-5;
    const at::Tensor w = sdk::to_groups(weight, quant.group_size);
    const at::Tensor wmin = t.min_scale.defined() ? t.weight_min * t.min_scale : t.weight_min;
    const at::Tensor wmax = t.max_scale.defined() ? t.weight_max * t.max_scale : t.weight_max;
    if (!quant.sym) {
      const int maxq = (1 << quant.bits) - 1;
      const at::Tensor s = ((wmax - wmin) / maxq).to(type).clamp_min(floor);
      const at::Tensor zp = sdk::round_ste(-wmin / s).unsqueeze(-1), scale = s.unsqueeze(-1);
      const at::Tensor q = (sdk::round_ste(w / scale + t.v) + zp).clamp(0, maxq);
      return sdk::from_groups(scale * (q - zp), weight.sizes());
    }
    const int maxq = 1 << (quant.bits - 1);
    at::Tensor s;
    if (t.init_scale.defined()) {
      s = (t.max_scale.defined() ? t.init_scale * t.max_scale : t.init_scale).to(type);
    } else {
      const at::Tensor neg = -wmin;
      s = (((wmax < neg).to(at::kInt) * 2 - 1) * at::maximum(wmax, neg) / maxq).to(type);
    }
    const at::Tensor scale = at::where(s < 0, s.clamp_max(-floor), s.clamp_min(floor)).unsqueeze(-1);
    return sdk::from_groups(scale * sdk::round_ste(w / scale + t.v).clamp(-maxq, maxq - 1), weight.sizes());
  }

 private:
  int_scheme::IntScheme int_;
};

}  // namespace arkit::testing
