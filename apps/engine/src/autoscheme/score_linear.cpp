#include "autoscheme/score_linear.h"

#include <optional>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <arkit/error.h>
#include <arkit/str.h>

#include "tuning/gemm.h"

namespace arkit::auto_scheme {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor rows(const at::Tensor& x) {
  return x.reshape({-1, x.size(-1)}).contiguous();
}

at::Tensor with_last(const at::Tensor& flat, at::IntArrayRef like) {
  std::vector<int64_t> sizes = like.vec();
  sizes.back() = flat.size(1);
  return flat.view(sizes);
}

struct ObservedProduct : torch::autograd::Function<ObservedProduct> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const Linear* layer, GradientObserver* observer) {
    const at::Tensor x2 = rows(x);
    context->save_for_backward({x2});
    context->saved_data["weight"] = weight;
    context->saved_data["layer"] = static_cast<int64_t>(reinterpret_cast<intptr_t>(layer));
    context->saved_data["observer"] = static_cast<int64_t>(reinterpret_cast<intptr_t>(observer));
    return with_last(linear_forward(x2, weight, layer->bias), x.sizes());
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const at::NoGradGuard no_grad;
    const auto pointer = [&](const char* key) { return static_cast<intptr_t>(context->saved_data[key].toInt()); };
    const at::Tensor dy = rows(gradients[0]);
    const at::Tensor dx = linear_input_gradient(dy, context->saved_data["weight"].toTensor());
    reinterpret_cast<GradientObserver*>(pointer("observer"))
        ->see(*reinterpret_cast<const Linear*>(pointer("layer")), context->get_saved_variables()[0], dy, dx);
    return {with_last(dx, gradients[0].sizes()), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor ReplayHook::linear(const Linear& layer, const at::Tensor& x) {
  const auto found = weights_.find(&layer);
  const at::Tensor& weight = found == weights_.end() ? layer.weight : found->second;
  ARKIT_CHECK(weight.defined() && weight.scalar_type() == x.scalar_type(),
              str("layer '", layer.name, "' must be loaded in the compute dtype"));
  if (!at::GradMode::is_enabled()) return with_last(linear_forward(rows(x), weight, layer.bias), x.sizes());
  return ObservedProduct::apply(x, weight, &layer, &observer_);
}

}  // namespace arkit::auto_scheme
