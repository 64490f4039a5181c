#include "int_activation.h"

#include <tuple>

#include <ATen/ATen.h>

#include <arkit/sdk/group.h>
#include <arkit/sdk/nn.h>
#include <arkit/sdk/ste.h>

#include "int_tensors.h"

namespace arkit::int_scheme {
namespace {

at::Tensor sym_scale(const at::Tensor& wmin, const at::Tensor& wmax, int bits, at::ScalarType scale_dtype,
                     double floor) {
  const at::Tensor neg = -wmin, sign = at::where(wmax < neg, 1, -1).to(wmax.scalar_type());
  const at::Tensor scale = (sign * at::maximum(wmax, neg) / (1 << (bits - 1))).to(scale_dtype);
  return at::where(scale < 0, scale.clamp_max(-floor), scale.clamp_min(floor));
}

}  // namespace

at::Tensor fake_quant_activation(const at::Tensor& x, const TensorQuant& quant) {
  const at::ScalarType scale_dtype = scalar_type(dtype_named(quant.scale_dtype));
  const double floor = scale_dtype == at::kFloat ? 1e-8 : 1e-5;
  const at::Tensor t = sdk::to_groups(x, quant.group_size);
  const at::Tensor wmin = std::get<0>(t.min(-1, true)).clamp_max(0), wmax = std::get<0>(t.max(-1, true)).clamp_min(0);
  at::Tensor y;
  if (quant.sym) {
    const int maxq = 1 << (quant.bits - 1);
    const at::Tensor scale = sym_scale(wmin, wmax, quant.bits, scale_dtype, floor);
    y = scale * sdk::round_ste(t / scale).clamp(-maxq, maxq - 1);
  } else {
    const int maxq = (1 << quant.bits) - 1;
    const at::Tensor scale = ((wmax - wmin) / maxq).to(scale_dtype).clamp_min(floor);
    const at::Tensor zp = sdk::round_ste(-wmin / scale);
    y = scale * ((sdk::round_ste(t / scale) + zp).clamp(0, maxq) - zp);
  }
  return sdk::from_groups(y.to(x.scalar_type()), x.sizes());
}

at::Tensor fake_quant_static_activation(const at::Tensor& x, const TensorQuant& quant, const at::Tensor& static_max) {
  const at::ScalarType scale_dtype = scalar_type(dtype_named(quant.scale_dtype));
  const double floor = scale_dtype == at::kFloat ? 1e-8 : 1e-5;
  const int maxq = 1 << (quant.bits - 1);
  const at::Tensor wanted = static_max.to(at::kFloat) / maxq;
  const at::Tensor scale =
      sdk::spread_scalar(sdk::ste(wanted, wanted.detach().to(scale_dtype).clamp_min(floor).to(at::kFloat)), x.sizes());
  const at::Tensor y = scale * sdk::round_ste(x.to(at::kFloat) / scale).clamp(-maxq, maxq - 1);
  return y.to(x.scalar_type());
}

}  // namespace arkit::int_scheme
