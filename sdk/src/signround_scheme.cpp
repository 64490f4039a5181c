#include <arkit/sdk/signround_scheme.h>

#include <utility>

#include <ATen/ATen.h>

namespace arkit::sdk {
namespace {

constexpr int kFewActivationBits = 4, kFewWeightBits = 3;

class SignRoundTuner final : public WeightTuner {
 public:
  SignRoundTuner(const SignRoundScheme& scheme, at::Tensor weight, TensorQuant quant, WeightTuning tuning)
      : scheme_(scheme), weight_(std::move(weight)), quant_(std::move(quant)), tuning_(std::move(tuning)) {
    add("v", tuning_.v, &WeightGradient::v, {});
    const Trainable range{.name = {},
                          .value = {},
                          .gradient = {},
                          .rate = Trainable::Rate::range,
                          .low = 0.0F,
                          .high = tuning_.scale_limit};
    add("min_scale", tuning_.min_scale, &WeightGradient::min_scale, range);
    add("max_scale", tuning_.max_scale, &WeightGradient::max_scale, range);
  }

  std::span<Trainable> trainables() override { return trainables_; }

  void fake_quant(at::Tensor& out) override { scheme_.fake_quant_weight(weight_, tuning_, quant_, out); }

  void backward(const at::Tensor& grad_out) override {
    scheme_.fake_quant_weight_backward(weight_, tuning_, quant_, grad_out, gradient_);
    for (size_t i = 0; i < trainables_.size(); ++i) trainables_[i].gradient = gradient_.*members_[i];
  }

  QuantizedWeight finish() override { return scheme_.quantize_tuned(weight_, tuning_, quant_); }

 private:
  using Member = at::Tensor WeightGradient::*;

  void add(std::string_view name, const at::Tensor& value, Member gradient, Trainable like) {
    if (!value.defined()) return;
    like.name = name;
    like.value = value;
    trainables_.push_back(std::move(like));
    members_.push_back(gradient);
  }

  const SignRoundScheme& scheme_;
  at::Tensor weight_;
  TensorQuant quant_;
  WeightTuning tuning_;
  WeightGradient gradient_;
  std::vector<Trainable> trainables_;
  std::vector<Member> members_;  // of the gradients, as trainables_
};

}  // namespace

bool has_independent_rows(const TensorQuant& weight) {
  return weight.group_size != 0 && (weight.observer.empty() || weight.observer == "minmax");
}

bool leaves_out_outliers(const LayerQuant& quant) {
  return quant.weight.sym && (quant.act.bits <= kFewActivationBits || quant.weight.bits <= kFewWeightBits);
}

std::unique_ptr<WeightTuner> SignRoundScheme::tuner(const at::Tensor& weight, const TensorQuant& quant,
                                                    const TuningSetup& setup) const {
  return std::make_unique<SignRoundTuner>(*this, weight, quant, begin_tuning(weight, quant, setup));
}

}  // namespace arkit::sdk
