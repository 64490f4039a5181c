#include "tuning/super_block_scheme.h"

#include <utility>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

namespace arkit::test {
namespace {

constexpr int kScaleSteps = 15;  // codes of scales and minima have 4 bits
constexpr int64_t kGroup = SuperBlockScheme::kGroup, kGroups = SuperBlockScheme::kSuper / kGroup;  // of a super-block

// [out, n] -> [out, n * times]
at::Tensor spread(const at::Tensor& values, int64_t times) {
  return values.repeat_interleave(times, 1);
}

// A weight between scale and minimum of its groups, all f32 [out, n_groups] and [out, n_super].
struct Ranges {
  at::Tensor scale, min, super_scale, super_min;
};

Ranges ranges_of(const at::Tensor& weight, double top) {
  const at::Tensor groups = weight.to(at::kFloat).reshape({weight.size(0), -1, kGroup});
  const at::Tensor low = groups.amin(2).clamp_max(0).neg(), step = (groups.amax(2).clamp_min(0) + low) / top;
  const auto largest = [](const at::Tensor& values) {
    return (values.reshape({values.size(0), -1, kGroups}).amax(2) / kScaleSteps).clamp_min(1e-8F);
  };
  Ranges r{.scale = {}, .min = {}, .super_scale = largest(step), .super_min = largest(low)};
  r.scale = (step / spread(r.super_scale, kGroups)).round().clamp(1, kScaleSteps);
  r.min = (low / spread(r.super_min, kGroups)).round().clamp(0, kScaleSteps);
  return r;
}

// What a code is worth, and what is subtracted, [out, in].
struct Grid {
  at::Tensor step, low;
};

Grid grid_of(const Ranges& r) {
  return {spread(r.scale * spread(r.super_scale, kGroups), kGroup),
          spread(r.min * spread(r.super_min, kGroups), kGroup)};
}

// Codes [out, in] and what they stand for, under `r`.
struct Coded {
  at::Tensor position, codes, value;
};

Coded coded(const at::Tensor& weight, const Ranges& r, double top) {
  const auto& [step, low] = grid_of(r);
  Coded c;
  c.position = (weight.to(at::kFloat) + low) / step;
  c.codes = c.position.round().clamp(0, top);
  c.value = step * c.codes - low;
  return c;
}

QuantizedWeight quantized(const at::Tensor& weight, const Ranges& r, double top) {
  QuantizedWeight out;
  out.codes = coded(weight, r, top).codes.to(at::kByte);
  out.scale = r.scale.to(at::kByte);
  out.group_min = r.min.to(at::kByte);
  out.super_scale = r.super_scale.clone();
  out.super_min = r.super_min.clone();
  return out;
}

class SuperBlockTuner final : public WeightTuner {
 public:
  SuperBlockTuner(at::Tensor weight, double top)
      : weight_(std::move(weight)), top_(top), start_(ranges_of(weight_, top)) {
    for (const char* name : {"super_scale", "super_min"})
      trainables_.push_back({.name = name,
                             .value = at::ones(start_.super_scale.sizes(), at::kFloat),
                             .gradient = {},
                             .rate = Trainable::Rate::range,
                             .low = 0.5F,
                             .high = 1.5F});
  }

  std::span<Trainable> trainables() override { return trainables_; }
  void fake_quant(at::Tensor& out) override { out.copy_(coded(weight_, now(), top_).value); }
  QuantizedWeight finish() override { return quantized(weight_, now(), top_); }

  // Straight through the rounding: inside the range a code follows its position, outside it stays.
  void backward(const at::Tensor& grad_out) override {
    const at::NoGradGuard no_grad;
    const Coded c = coded(weight_, now(), top_);
    const at::Tensor grad = grad_out.to(at::kFloat);
    const at::Tensor inside = ((c.position >= 0) & (c.position <= top_)).to(at::kFloat);
    const auto add = [&](Trainable& trainable, const at::Tensor& slope, const at::Tensor& unit) {
      const at::Tensor sum = (grad * slope).reshape({weight_.size(0), -1, kGroup}).sum(2) * unit;
      const at::Tensor all = sum.reshape({weight_.size(0), -1, kGroups}).sum(2);
      trainable.gradient = trainable.gradient.defined() ? trainable.gradient.add_(all) : all;
    };
    add(trainables_[0], c.codes - inside * c.position, start_.scale * spread(start_.super_scale, kGroups));
    add(trainables_[1], inside - 1, start_.min * spread(start_.super_min, kGroups));
  }

 private:
  [[nodiscard]] Ranges now() const {
    Ranges r = start_;
    r.super_scale = start_.super_scale * trainables_[0].value;
    r.super_min = start_.super_min * trainables_[1].value;
    return r;
  }

  at::Tensor weight_;
  double top_;
  Ranges start_;
  std::vector<Trainable> trainables_;
};

double top_of(const TensorQuant& quant) {
  return (1 << quant.bits) - 1;
}

}  // namespace

const SchemeInfo& SuperBlockScheme::info() const noexcept {
  static constexpr std::string_view kTypes[] = {"super_block"};
  static constexpr SchemeInfo kInfo{"super_block", "integers in super-blocks", kTypes};
  return kInfo;
}

std::unique_ptr<WeightTuner> SuperBlockScheme::tuner(const at::Tensor& weight, const TensorQuant& quant,
                                                     const TuningSetup&) const {
  return std::make_unique<SuperBlockTuner>(weight, top_of(quant));
}

QuantizedWeight SuperBlockScheme::quantize_rtn(const at::Tensor& weight, const TensorQuant& quant, RtnMode,
                                               const at::Tensor&, int64_t, const at::Tensor&) const {
  return quantized(weight, ranges_of(weight, top_of(quant)), top_of(quant));
}

at::Tensor SuperBlockScheme::dequantize(const QuantizedWeight& weight, const TensorQuant&, at::ScalarType dtype) const {
  const auto& [step, low] = grid_of({.scale = weight.scale.to(at::kFloat),
                                     .min = weight.group_min.to(at::kFloat),
                                     .super_scale = weight.super_scale,
                                     .super_min = weight.super_min});
  return (step * weight.codes.to(at::kFloat) - low).to(dtype);
}

}  // namespace arkit::test
