// Fake quantization of activations: one autograd node, forward and backward one pass over memory each.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <arkit/sdk/nn.h>

#include "scaled_tensors.h"

namespace arkit::sdk::scaled {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// What backward needs beside tensors; owned by the node.
struct Recipe : torch::CustomClassHolder {
  ScaleLayout layout;
  ElementRule rule;
};

struct FakeQuantActivation : torch::autograd::Function<FakeQuantActivation> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const std::optional<at::Tensor>& limit,
                            const ScaleLayout& layout, const ElementRule& rule, const ScaleFunction& scales) {
    const at::Tensor peak =
        limit ? limit->to(at::kFloat).expand({layout.scales()}).contiguous() : peaks(x, layout, nullptr);
    const ScaledScheme::Scales s = scales(peak);
    Matrix matrix{.x = x, .layout = layout, .rule = rule};
    matrix.scale = spread(s.scale, layout);
    matrix.inverse = spread(s.inverse, layout);
    at::Tensor y = at::empty_like(x);
    fake_quant(matrix, y);
    if (x.requires_grad() || (limit && limit->requires_grad())) {
      auto recipe = c10::make_intrusive<Recipe>();
      recipe->layout = layout;
      recipe->rule = rule;
      context->saved_data["recipe"] = c10::IValue::make_capsule(std::move(recipe));
      context->saved_data["limited"] = limit.has_value();
      context->save_for_backward({x, matrix.scale, matrix.inverse, s.slope, peak});
    }
    return y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto capsule = context->saved_data["recipe"].toCapsule();
    const auto& recipe = static_cast<const Recipe&>(*capsule);
    const variable_list saved = context->get_saved_variables();
    const at::Tensor& x = saved[0];
    Matrix matrix{.x = x, .layout = recipe.layout, .rule = recipe.rule};
    matrix.scale = saved[1];
    matrix.inverse = saved[2];
    at::Tensor grad_x;
    const at::Tensor by_group = gradient(matrix, gradients[0], nullptr, &grad_x);
    const at::Tensor grad_peak = total(by_group, recipe.layout) * saved[3];
    at::Tensor grad_limit;
    if (context->saved_data["limited"].toBool())
      grad_limit = fixed_sum(grad_peak);
    else
      add_to_peaks(x, recipe.layout, saved[4], grad_peak, grad_x);
    return {grad_x, grad_limit, at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor fake_quant_activation(const at::Tensor& x, const ScaleLayout& layout, const ElementRule& rule,
                                 const at::Tensor& limit, const ScaleFunction& scales) {
  // Autograd refuses undefined tensors but knows absent ones.
  const std::optional<at::Tensor> given = limit.defined() ? std::optional(limit) : std::nullopt;
  return FakeQuantActivation::apply(x, given, layout, rule, scales);
}

}  // namespace arkit::sdk::scaled
