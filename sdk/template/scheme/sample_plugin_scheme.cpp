// Sign-only weights: code 1 is +scale, code 0 is -scale; scale = mean |w| of the group (README.md).
#include <array>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/plugin.h>
#include <arkit/scheme.h>
#include <arkit/sdk/autograd_scheme.h>
#include <arkit/sdk/group.h>
#include <arkit/sdk/ste.h>
#include <arkit/str.h>

namespace {

using arkit::QuantizedWeight;
using arkit::TensorQuant;
using arkit::sdk::WeightTuning;

// [groups, group] -> [groups, 1] f32, rounded to the float16 it is stored as; an all-zero group gets scale 0.
at::Tensor scale_of(const at::Tensor& groups) {
  return groups.abs().mean(-1, /*keepdim=*/true).to(at::kHalf).to(at::kFloat);
}

// The position of each weight between -1 and 1, where 0 is the border between the two codes; v moves it.
at::Tensor position_of(const at::Tensor& groups, const at::Tensor& scale, const at::Tensor& v) {
  const at::Tensor position = groups / at::where(scale == 0, at::ones_like(scale), scale);
  return v.defined() ? position + v : position;
}

class SamplePluginScheme final : public arkit::sdk::AutogradScheme {
 public:
  const arkit::SchemeInfo& info() const noexcept override {
    static constexpr std::array<std::string_view, 1> kTypes{"sample_plugin"};
    static constexpr arkit::SchemeInfo kInfo{"sample_plugin", "1-bit sign weights", kTypes};
    return kInfo;
  }

  std::span<const arkit::Preset> presets() const override {
    static const std::array<arkit::Preset, 1> kPresets{
        {{"SAMPLE_PLUGIN_W1",
          "sign of each weight, groups of 64",
          {.weight = {.data_type = "sample_plugin", .bits = 1, .group_size = 64, .sym = true}}}}};
    return kPresets;
  }

  arkit::Verdict supports(const arkit::LayerPlan& layer) const override {
    const TensorQuant& quant = layer.quant.weight;
    if (quant.bits != 1) return arkit::Verdict::no(arkit::str("sample_plugin has 1 bit, not ", quant.bits));
    if (!quant.sym) return arkit::Verdict::no("sample_plugin is symmetric; leave --asym out");
    if (quant.group_size == 0) return arkit::Verdict::no("sample_plugin needs groups; choose --group_size 64");
    if (layer.quant.act.quantized()) return arkit::Verdict::no("sample_plugin does not quantize activations");
    return arkit::Verdict::yes();
  }

  double bits_per_weight(const arkit::LayerPlan& layer) const override {
    const auto shape = arkit::sdk::group_shape(layer.out_features, layer.in_features, layer.quant.weight.group_size);
    return 1.0 + 16.0 * static_cast<double>(shape.per_row) / static_cast<double>(layer.in_features);
  }

  arkit::SchemeTraits traits(const arkit::LayerQuant&) const override { return {}; }

  WeightTuning begin_tuning(const at::Tensor& weight, const TensorQuant& quant,
                            const arkit::TuningSetup&) const override {
    WeightTuning tuning;
    tuning.v = at::zeros_like(arkit::sdk::to_groups(weight.to(at::kFloat), quant.group_size));
    return tuning;
  }

  at::Tensor fake_quant_act(const at::Tensor& x, const TensorQuant&, const at::Tensor&) const override {
    return x;  // supports() refuses plans that quantize activations
  }

  QuantizedWeight quantize_tuned(const at::Tensor& weight, const WeightTuning& tuning,
                                 const TensorQuant& quant) const override {
    return quantized(weight, tuning.v, quant);
  }

  QuantizedWeight quantize_rtn(const at::Tensor& weight, const TensorQuant& quant, arkit::RtnMode, const at::Tensor&,
                               int64_t, const at::Tensor&) const override {
    return quantized(weight, {}, quant);
  }

  at::Tensor dequantize(const QuantizedWeight& weight, const TensorQuant& quant, at::ScalarType dtype) const override {
    const at::Tensor signs = arkit::sdk::to_groups(weight.codes.to(at::kFloat) * 2 - 1, quant.group_size);
    const at::Tensor values = signs * weight.scale.to(at::kFloat).reshape({-1, 1});
    return arkit::sdk::from_groups(values, weight.codes.sizes()).to(dtype);
  }

 protected:
  // Forward: the two values. Backward: straight through where the position lies between them.
  at::Tensor formula(const at::Tensor& weight, const WeightTuning& tuning, const TensorQuant& quant) const override {
    const at::Tensor groups = arkit::sdk::to_groups(weight.to(at::kFloat), quant.group_size);
    const at::Tensor scale = scale_of(groups);
    const at::Tensor position = position_of(groups, scale, tuning.v);
    const at::Tensor sign = (position.detach() >= 0).to(at::kFloat) * 2 - 1;
    return arkit::sdk::from_groups(arkit::sdk::ste(position.clamp(-1, 1), sign) * scale, weight.sizes());
  }

 private:
  static QuantizedWeight quantized(const at::Tensor& weight, const at::Tensor& v, const TensorQuant& quant) {
    const at::Tensor groups = arkit::sdk::to_groups(weight.to(at::kFloat), quant.group_size);
    const at::Tensor scale = scale_of(groups);
    const at::Tensor codes = (position_of(groups, scale, v) >= 0).to(at::kByte);
    QuantizedWeight result;
    result.codes = arkit::sdk::from_groups(codes, weight.sizes()).contiguous();
    result.scale = scale.to(at::kHalf).reshape({weight.size(0), -1});
    return result;
  }
};

}  // namespace

ARKIT_PLUGIN("org.example.sample_plugin", "0.1.0", "Example", "Apache-2.0", "https://example.org",
             arkit::component<arkit::Scheme, SamplePluginScheme>("sample_plugin", "1-bit sign weights"));
