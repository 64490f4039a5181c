#include "tuning/optimizer.h"

#include <cmath>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <arkit/error.h>

#include "tuning/tuning_kernels.h"

namespace arkit {
namespace {

constexpr int64_t kGrain = 1 << 15;
constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kEps = 1e-8;  // AdamW's defaults

float* state(at::Tensor& tensor, const at::Tensor& like) {
  if (!tensor.defined()) tensor = at::zeros_like(like);
  return tensor.mutable_data_ptr<float>();
}

void adam(TunedParam& param, float* p, float* g, int64_t n) {
  float* m = state(param.first, param.value);
  float* v = state(param.second, param.value);
  const auto t = static_cast<double>(param.steps + 1);
  const kernels::AdamStep step{.lr = param.lr,
                               .beta1 = static_cast<float>(kBeta1),
                               .beta2 = static_cast<float>(kBeta2),
                               .eps = static_cast<float>(kEps),
                               .correction1 = static_cast<float>(1.0 - std::pow(kBeta1, t)),
                               .sqrt_correction2 = static_cast<float>(std::sqrt(1.0 - std::pow(kBeta2, t)))};
  at::parallel_for(0, n, kGrain, [&](int64_t begin, int64_t end) {
    kernels::adam_step(p + begin, g + begin, m + begin, v + begin, end - begin, step);
  });
}

}  // namespace

void optimizer_step(TunedParam& param, const TuneOptions& options) {
  if (!param.gradient.defined()) return;
  ARKIT_CHECK(param.value.is_contiguous() && param.gradient.is_contiguous() &&
                  param.value.numel() == param.gradient.numel() && param.gradient.scalar_type() == at::kFloat,
              "tuned parameters and their gradients are dense f32 of one shape");
  auto* p = param.value.mutable_data_ptr<float>();
  auto* g = param.gradient.mutable_data_ptr<float>();
  const int64_t n = param.value.numel();
  if (options.enable_adam) {
    adam(param, p, g, n);
  } else if (options.momentum > 0.0) {
    float* b = state(param.first, param.value);
    at::parallel_for(0, n, kGrain, [&](int64_t begin, int64_t end) {
      kernels::sign_momentum_step(p + begin, g + begin, b + begin, end - begin, param.lr,
                                  static_cast<float>(options.momentum), param.steps == 0);
    });
  } else {
    at::parallel_for(0, n, kGrain, [&](int64_t begin, int64_t end) {
      kernels::sign_step(p + begin, g + begin, end - begin, param.lr);
    });
  }
  ++param.steps;
}

}  // namespace arkit
