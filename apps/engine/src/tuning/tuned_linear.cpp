#include "tuning/tuned_linear.h"

#include <algorithm>
#include <chrono>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <arkit/error.h>

#include "tuning/gemm.h"
#include "tuning/tuning_kernels.h"
#include "util/seconds.h"

namespace arkit {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

std::vector<int64_t> with_last(at::IntArrayRef sizes, int64_t last) {
  std::vector<int64_t> out = sizes.vec();
  out.back() = last;
  return out;
}

at::Tensor rows(const at::Tensor& x) {
  return x.reshape({-1, x.size(-1)}).contiguous();
}

// Sums of 64 rows each, then of those: whatever the number of threads.
at::Tensor sum_of_rows(const at::Tensor& dy) {
  constexpr int64_t kRowsPerTask = 64;
  const int64_t rows = dy.size(0), width = dy.size(1), tasks = (rows + kRowsPerTask - 1) / kRowsPerTask;
  const at::Tensor partial = at::zeros({tasks, width}, at::kFloat);
  auto* sums = partial.mutable_data_ptr<float>();
  at::parallel_for(0, tasks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t first = task * kRowsPerTask, count = std::min(kRowsPerTask, rows - first);
      float* const to = sums + task * width;
      if (dy.scalar_type() == at::kFloat)
        kernels::add_rows(dy.const_data_ptr<float>() + first * width, count, width, to);
      else
        kernels::add_rows(static_cast<const kernels::BFloat16*>(dy.const_data_ptr()) + first * width, count, width, to);
    }
  });
  at::Tensor sum = at::zeros({width}, at::kFloat);
  kernels::add_rows(static_cast<const float*>(sums), tasks, width, sum.mutable_data_ptr<float>());
  return sum.to(dy.scalar_type());
}

void add_weight_gradient(TunedLinear& layer, const at::Tensor& dy, const at::Tensor& x, const at::Tensor& scratch) {
  at::Tensor dw = scratch.narrow(0, 0, layer.weight.numel()).view(layer.weight.sizes());
  linear_weight_gradient(dy, x, dw);
  const auto start = std::chrono::steady_clock::now();
  layer.tuner->backward(dw);
  layer.backward_seconds += seconds_since(start);
  layer.touched = true;
}

struct TunedProduct : torch::autograd::Function<TunedProduct> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& /*anchor*/, const at::Tensor& x,
                            const std::optional<at::Tensor>& bias, TunedLinear* layer, const at::Tensor& scratch) {
    const at::Tensor x2 = rows(x);
    context->save_for_backward({x2});
    context->saved_data["layer"] = static_cast<int64_t>(reinterpret_cast<intptr_t>(layer));
    context->saved_data["scratch"] = scratch;
    context->saved_data["needs_x"] = x.requires_grad();
    context->saved_data["needs_bias"] = bias && bias->requires_grad();
    return linear_forward(x2, layer->weight, bias.value_or(at::Tensor()))
        .view(with_last(x.sizes(), layer->weight.size(0)));
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    auto* layer = reinterpret_cast<TunedLinear*>(static_cast<intptr_t>(context->saved_data["layer"].toInt()));
    const at::Tensor x = context->get_saved_variables()[0];
    const at::Tensor dy = rows(gradients[0]);
    at::Tensor dx, dbias;
    if (context->saved_data["needs_x"].toBool())
      dx = linear_input_gradient(dy, layer->weight).view(with_last(gradients[0].sizes(), x.size(1)));
    if (context->saved_data["needs_bias"].toBool()) dbias = sum_of_rows(dy);
    if (layer->tuner != nullptr) add_weight_gradient(*layer, dy, x, context->saved_data["scratch"].toTensor());
    return {at::Tensor(), dx, dbias, at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor tuned_input(const TunedLinear& layer, const at::Tensor& x) {
  if (layer.act_scheme == nullptr) return x;
  at::Tensor limit = layer.act_max;
  if (layer.act_max_scale.defined()) limit = limit * layer.act_max_scale;
  return layer.act_scheme->fake_quant_act(x, layer.quant.act, limit);
}

at::Tensor tuned_linear(TunedLinear& layer, const at::Tensor& x, const at::Tensor& bias, const at::Tensor& scratch) {
  ARKIT_CHECK(x.scalar_type() == layer.weight.scalar_type(), "input and weight have one dtype");
  const at::Tensor input = tuned_input(layer, x);
  if (!at::GradMode::is_enabled()) {
    const at::Tensor y = linear_forward(rows(input), layer.weight, bias);
    return y.view(with_last(x.sizes(), layer.weight.size(0)));
  }
  if (!layer.anchor.defined()) layer.anchor = at::zeros({}).requires_grad_();
  // Autograd refuses undefined tensors but knows absent ones.
  const std::optional<at::Tensor> given = bias.defined() ? std::optional(bias) : std::nullopt;
  return TunedProduct::apply(layer.anchor, input, given, &layer, scratch);
}

}  // namespace arkit
