#pragma once
// The arithmetic of the scaled schemes in plain LibTorch operators and autograd, one operator after the other as
// docs/spec/floats.md 2 to 5 lists them: what the fused kernels are compared with.

#include <ATen/ATen.h>

#include <arkit/sdk/element_grid.h>
#include <arkit/sdk/ste.h>

namespace arkit::testing {

inline at::Tensor floor_ste(const at::Tensor& x) {
  return sdk::ste(x, x.floor());
}

// Rounding to a small float, differentiable through its exponent as well.
inline at::Tensor aten_element(const at::Tensor& t, const sdk::ElementGrid& grid, bool follow_grid) {
  if (!follow_grid) {
    const at::Tensor p = t.abs().log2().floor().clamp_min(grid.min_exponent);
    const at::Tensor unit = at::pow(2, p - grid.mantissa);
    return sdk::ste(t, ((t / unit).round() * unit).clamp(-grid.max, grid.max));
  }
  const at::Tensor magnitude = at::where(t == 0, at::ones_like(t), t.abs());
  const at::Tensor p = floor_ste(magnitude.log2()).clamp_min(grid.min_exponent);
  const at::Tensor unit = at::pow(2, p - grid.mantissa);
  return (sdk::round_ste(t / unit) * unit).clamp(-grid.max, grid.max);
}

// mx: `peak` [n, 1] already times max_scale.
inline at::Tensor aten_mx(const at::Tensor& groups, const at::Tensor& peak, const at::Tensor& v,
                          const sdk::ElementGrid& grid, bool follow_grid, float ceil_limit = 0) {
  const at::Tensor logs = at::where(peak == 0, at::ones_like(peak), (ceil_limit > 0 ? peak / ceil_limit : peak).log2());
  at::Tensor e = ceil_limit > 0 ? sdk::ste(logs, logs.ceil()) : floor_ste(logs) - grid.max_exponent;
  const at::Tensor scale = at::pow(2, e.clamp(-127, 127));
  const at::Tensor t = (groups.to(at::kFloat) / scale + v).clamp(-grid.max, grid.max);
  return aten_element(t, grid, follow_grid) * scale;
}

inline at::Tensor aten_nv(const at::Tensor& groups, const at::Tensor& peak, const at::Tensor& v,
                          const at::Tensor& global) {
  const at::Tensor wanted = (global * (peak * (1.0 / 6.0))).clamp(-448, 448);
  const at::Tensor coded = sdk::ste(wanted, wanted.detach().to(at::kFloat8_e4m3fn).to(at::kFloat));
  const at::Tensor o = (coded * global.reciprocal()).reciprocal();
  const at::Tensor t = (groups.to(at::kFloat) * o + v).clamp(-6, 6);
  return aten_element(t, sdk::kE2m1, false) * o.reciprocal();
}

inline at::Tensor aten_fp8(const at::Tensor& groups, const at::Tensor& peak, const at::Tensor& v) {
  const at::Tensor scale = (peak / 448).clamp_min(1.0 / (448 * 512));
  const at::Tensor t = (groups.to(at::kFloat) / scale + v).clamp(-448, 448);
  return aten_element(t, sdk::kE4m3, false) * scale;
}

}  // namespace arkit::testing
