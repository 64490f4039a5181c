#include <arkit/sdk/fixed_product.h>

#include <algorithm>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <arkit/error.h>

#include "fixed_product_kernels.h"

namespace arkit {
namespace {

constexpr int64_t kTaskProducts = int64_t{1} << 18;  // a thread's least work

template <typename T>
void strips(const at::Tensor& packed, const T* weight, int64_t rows, at::Tensor& y, int64_t in) {
  const int64_t out = y.size(1), tasks = (out + kernels::kProductOutputs - 1) / kernels::kProductOutputs;
  const int64_t grain =
      std::max<int64_t>(1, kTaskProducts / std::max<int64_t>(1, rows * in * kernels::kProductOutputs));
  const auto* x = packed.const_data_ptr<float>();
  auto* to = y.mutable_data_ptr<float>();
  at::parallel_for(0, tasks, grain, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t first = task * kernels::kProductOutputs;
      kernels::product_strip(x, weight, rows, in, out, first, std::min(kernels::kProductOutputs, out - first), to);
    }
  });
}

}  // namespace

at::Tensor fixed_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const at::NoGradGuard no_grad;
  ARKIT_CHECK(x.scalar_type() == at::kFloat && weight.dim() == 2 && x.size(-1) == weight.size(1),
              "products in a fixed order take f32 of the layer's width");
  const at::Tensor rows = x.reshape({-1, x.size(-1)}).contiguous(), w = weight.contiguous();
  const int64_t count = rows.size(0), in = rows.size(1);
  const int64_t units = (count + kernels::kProductRows - 1) / kernels::kProductRows;
  at::Tensor packed = at::empty({units * in * kernels::kProductRows}, at::kFloat);
  kernels::pack_rows(rows.const_data_ptr<float>(), count, in, packed.mutable_data_ptr<float>());
  at::Tensor y = at::empty({count, w.size(0)}, at::kFloat);
  if (w.scalar_type() == at::kBFloat16)
    strips(packed, static_cast<const uint16_t*>(w.const_data_ptr()), count, y, in);
  else
    strips(packed, w.to(at::kFloat).contiguous().const_data_ptr<float>(), count, y, in);
  if (bias.defined()) y.add_(bias.to(at::kFloat));
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = w.size(0);
  return y.view(sizes);
}

}  // namespace arkit
