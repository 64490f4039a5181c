#include <arkit/sdk/autograd_scheme.h>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

namespace arkit::sdk {
namespace {

// A leaf that shares the data of `trainable` and collects a gradient.
at::Tensor leaf(const at::Tensor& trainable) {
  return trainable.defined() ? trainable.detach().requires_grad_() : at::Tensor();
}

void add_gradient(at::Tensor& to, const at::Tensor& from) {
  if (!from.defined() || !from.grad().defined()) return;
  if (to.defined())
    to.add_(from.grad());
  else
    to = from.grad();
}

}  // namespace

void AutogradScheme::fake_quant_weight(const at::Tensor& weight, const WeightTuning& tuning, const TensorQuant& quant,
                                       at::Tensor& out) const {
  const at::NoGradGuard no_grad;
  out.copy_(formula(weight, tuning, quant));
}

void AutogradScheme::fake_quant_weight_backward(const at::Tensor& weight, const WeightTuning& tuning,
                                                const TensorQuant& quant, const at::Tensor& grad_out,
                                                WeightGradient& gradient) const {
  WeightTuning leaves = tuning;
  leaves.v = leaf(tuning.v);
  leaves.min_scale = leaf(tuning.min_scale);
  leaves.max_scale = leaf(tuning.max_scale);
  {
    const at::AutoGradMode with_grad(true);
    const at::Tensor y = formula(weight, leaves, quant);
    if (!y.requires_grad()) return;
    y.backward(grad_out.to(y.scalar_type()));
  }
  const at::NoGradGuard no_grad;
  add_gradient(gradient.v, leaves.v);
  add_gradient(gradient.min_scale, leaves.min_scale);
  add_gradient(gradient.max_scale, leaves.max_scale);
}

}  // namespace arkit::sdk
