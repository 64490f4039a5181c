#pragma once
// For tests of arkit and of plugins: comparing tensors with a failure text that says where.

#include <string>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace arkit::sdk {

// |actual - expected| <= atol + rtol |expected| everywhere; a NaN fails. The failure names the worst element.
inline ::testing::AssertionResult close(const at::Tensor& actual, const at::Tensor& expected, double atol,
                                        double rtol = 0.0) {
  if (!actual.defined() || !expected.defined()) return ::testing::AssertionFailure() << "an undefined tensor";
  if (actual.sizes() != expected.sizes())
    return ::testing::AssertionFailure() << "shape " << actual.sizes() << ", expected " << expected.sizes();
  const at::Tensor a = actual.detach().to(at::kDouble).flatten(), e = expected.detach().to(at::kDouble).flatten();
  const at::Tensor excess = (a - e).abs() - (e.abs() * rtol + atol);
  const at::Tensor bad = excess.le(0).logical_not();  // catches NaN
  if (!bad.any().item<bool>()) return ::testing::AssertionSuccess();
  const int64_t worst = excess.nan_to_num(1e300).argmax().item<int64_t>();
  return ::testing::AssertionFailure() << bad.sum().item<int64_t>() << " of " << a.numel()
                                       << " elements differ; worst at " << worst << ": " << a[worst].item<double>()
                                       << ", expected " << e[worst].item<double>();
}

}  // namespace arkit::sdk
