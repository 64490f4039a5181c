#pragma once
// AtenIntScheme that remembers the parameters of every iteration and those that became codes.

#include <map>
#include <vector>

#include "tuning/aten_int_scheme.h"

namespace arkit::test {

class RecordingScheme final : public sdk::SignRoundScheme {
 public:
  struct Parameters {
    at::Tensor v, min_scale, max_scale;
  };
  mutable std::map<const void*, std::vector<Parameters>> iterations;  // by weight
  mutable std::map<const void*, Parameters> written;

  const SchemeInfo& info() const noexcept override { return inner_.info(); }
  std::span<const Preset> presets() const override { return {}; }
  Verdict supports(const LayerPlan&) const override { return Verdict::yes(); }
  double bits_per_weight(const LayerPlan& layer) const override { return inner_.bits_per_weight(layer); }
  SchemeTraits traits(const LayerQuant& quant) const override { return inner_.traits(quant); }
  sdk::WeightTuning begin_tuning(const at::Tensor& weight, const TensorQuant& quant,
                                 const TuningSetup& setup) const override {
    return inner_.begin_tuning(weight, quant, setup);
  }
  void fake_quant_weight(const at::Tensor& weight, const sdk::WeightTuning& tuning, const TensorQuant& quant,
                         at::Tensor& out) const override {
    inner_.fake_quant_weight(weight, tuning, quant, out);
    iterations[weight.const_data_ptr()].push_back(copy(tuning));
  }
  void fake_quant_weight_backward(const at::Tensor& weight, const sdk::WeightTuning& tuning, const TensorQuant& quant,
                                  const at::Tensor& grad_out, sdk::WeightGradient& gradient) const override {
    inner_.fake_quant_weight_backward(weight, tuning, quant, grad_out, gradient);
  }
  at::Tensor fake_quant_act(const at::Tensor& x, const TensorQuant& quant, const at::Tensor& max) const override {
    return inner_.fake_quant_act(x, quant, max);
  }
  QuantizedWeight quantize_tuned(const at::Tensor& weight, const sdk::WeightTuning& tuning,
                                 const TensorQuant& quant) const override {
    written[weight.const_data_ptr()] = copy(tuning);
    return inner_.quantize_tuned(weight, tuning, quant);
  }
  QuantizedWeight quantize_rtn(const at::Tensor& weight, const TensorQuant& quant, RtnMode mode,
                               const at::Tensor& imatrix, int64_t count, const at::Tensor& scale) const override {
    return inner_.quantize_rtn(weight, quant, mode, imatrix, count, scale);
  }
  at::Tensor dequantize(const QuantizedWeight& weight, const TensorQuant& quant, at::ScalarType dtype) const override {
    return inner_.dequantize(weight, quant, dtype);
  }

 private:
  static Parameters copy(const sdk::WeightTuning& tuning) {
    return {tuning.v.clone(), tuning.min_scale.clone(), tuning.max_scale.clone()};
  }
  AtenIntScheme inner_;
};

}  // namespace arkit::test
