#include "hpu_linears.h"

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/InferenceMode.h>

#include "hpu_runtime.h"

namespace arkit::hpu {
namespace {

template <typename T>
at::Tensor moved(const std::vector<T>& values, at::IntArrayRef shape, at::ScalarType from, at::ScalarType to,
                 const at::Device& device) {
  return at::from_blob(const_cast<T*>(values.data()), shape, from)
      .to(device, to, /*non_blocking=*/false, /*copy=*/true);
}

// (code - zero) * scale in bfloat16, [inputs, columns]. By its name: what it is compiled to is the bridge's affair.
at::Tensor weight_of(const HpuLayer& layer) {
  torch::jit::Stack stack{layer.codes, layer.scales, layer.zeros, static_cast<int64_t>(at::kBFloat16)};
  c10::Dispatcher::singleton().findSchemaOrThrow(kOperator, "").callBoxed(stack);
  return stack.at(0).toTensor();
}

}  // namespace

HpuLayer::HpuLayer(const HpuWeight& weight, const at::Device& device) : outputs(weight.outputs) {
  const c10::InferenceMode no_gradients;
  codes = moved(weight.codes, {weight.inputs, weight.columns / 8}, at::kInt, at::kInt, device);
  zeros = moved(weight.zeros, {weight.groups, weight.columns / 8}, at::kInt, at::kInt, device);
  scales = moved(weight.scales, {weight.groups, weight.columns}, at::kFloat, at::kBFloat16, device);
  if (!weight.bias.empty()) bias = moved(weight.bias, {weight.outputs}, at::kFloat, at::kBFloat16, device);
}

int64_t HpuLinears::bytes() const {
  size_t all = 0;
  for (const HpuLayer& layer : layers_)
    all += layer.codes.nbytes() + layer.scales.nbytes() + layer.zeros.nbytes() +
           (layer.bias.defined() ? layer.bias.nbytes() : 0);
  return static_cast<int64_t>(all);
}

void HpuLinears::run(const sdk::TensorView& x, std::span<const sdk::TensorView> y, ArkitStream*) {
  if (y.size() != layers_.size())
    throw sdk::BackendError(ARKIT_MISUSED, std::to_string(y.size()) + " outputs were given for " +
                                               std::to_string(layers_.size()) + " layers");
  const c10::InferenceMode no_gradients;
  const auto over = [](const sdk::TensorView& tensor) {
    return at::from_blob(tensor.values<uint16_t>().data(), at::IntArrayRef(tensor.shape.data(), tensor.shape.size()),
                         at::kBFloat16);
  };
  const at::Tensor input = over(x).to(device_);
  for (size_t i = 0; i < y.size(); ++i) {
    at::Tensor product = at::matmul(input, weight_of(layers_[i]));
    if (product.size(1) != layers_[i].outputs) product = product.narrow(1, 0, layers_[i].outputs);
    if (layers_[i].bias.defined()) product = product + layers_[i].bias;
    over(y[i]).copy_(product);
  }
}

}  // namespace arkit::hpu
