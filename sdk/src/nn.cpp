// The only file of the sdk that includes LibTorch's custom_function.h, which costs 5 s to compile.
#include <arkit/sdk/nn.h>

#include <algorithm>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <arkit/error.h>
#include <arkit/fixed_order.h>
#include <arkit/str.h>

#include "fixed_kernels.h"
#include "nn_kernels.h"

namespace arkit::sdk {
namespace {

using kernels::Bf16;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

constexpr int64_t kElementGrain = 32768;  // elements a thread should get at least
// Parts of the rows whose weight gradients are summed apart: fixed, so that threads do not matter.
constexpr int64_t kWeightGradients = 64;

bool fused_dtype(const at::Tensor& x) {
  return x.is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16);
}
bool same_kind(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.device() == b.device();
}
bool needs_grad(const at::Tensor& x) {
  return at::GradMode::is_enabled() && x.requires_grad();
}

template <typename T>
const T* in(const at::Tensor& t) {
  return static_cast<const T*>(t.const_data_ptr());
}
template <typename T>
T* out(const at::Tensor& t) {
  return t.defined() ? static_cast<T*>(t.mutable_data_ptr()) : nullptr;
}

// Runs body(float{}) or body(Bf16{}).
template <typename Body>
void by_dtype(const at::Tensor& x, const Body& body) {
  if (x.scalar_type() == at::kFloat)
    body(float{});
  else
    body(Bf16{});
}

struct RowShape {
  int64_t rows, width, grain;
};
RowShape row_shape(const at::Tensor& x) {
  const int64_t width = x.size(-1), rows = width == 0 ? 0 : x.numel() / width;
  return {rows, width, std::max<int64_t>(1, kElementGrain / std::max<int64_t>(width, 1))};
}

at::Tensor rms_norm_forward(const at::Tensor& x, const at::Tensor& weight, double eps, const at::Tensor& inv_rms) {
  const RowShape shape = row_shape(x);
  at::Tensor y = at::empty_like(x);
  by_dtype(x, [&](auto type) {
    using T = decltype(type);
    const T *px = in<T>(x), *pw = in<T>(weight);
    T* py = out<T>(y);
    float* pr = out<float>(inv_rms);
    at::parallel_for(0, shape.rows, shape.grain, [&](int64_t first, int64_t last) {
      const int64_t at = first * shape.width;
      kernels::rms_norm(px + at, pw, py + at, pr == nullptr ? nullptr : pr + first, last - first, shape.width,
                        static_cast<float>(eps));
    });
  });
  return y;
}

struct RmsNormFunction : Function<RmsNormFunction> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight, double eps) {
    const at::Tensor inv_rms = at::empty({row_shape(x).rows}, x.options().dtype(at::kFloat));
    at::Tensor y = rms_norm_forward(x, weight, eps, inv_rms);
    ctx->save_for_backward({x, weight, inv_rms});
    return y;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &inv_rms = saved[2];
    const at::Tensor grad_y = grads[0].contiguous();
    const RowShape shape = row_shape(x);
    const int64_t parts = std::min<int64_t>(kWeightGradients, shape.rows),
                  part = (shape.rows + parts - 1) / std::max<int64_t>(1, parts);
    at::Tensor grad_x, partial;  // partial: a row of weight gradients for each part of the rows
    if (ctx->needs_input_grad(0)) grad_x = at::empty_like(x);
    if (ctx->needs_input_grad(1)) partial = at::zeros({parts, shape.width}, inv_rms.options());
    by_dtype(x, [&](auto type) {
      using T = decltype(type);
      const T *px = in<T>(x), *pw = in<T>(weight), *pg = in<T>(grad_y);
      T* pgx = out<T>(grad_x);
      float* pgw = out<float>(partial);
      const float* pr = in<float>(inv_rms);
      at::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const int64_t first = i * part, at = first * shape.width;
          kernels::rms_norm_backward(px + at, pw, pr + first, pg + at, pgx == nullptr ? nullptr : pgx + at,
                                     pgw == nullptr ? nullptr : pgw + i * shape.width,
                                     std::min(part, shape.rows - first), shape.width);
        }
      });
    });
    at::Tensor grad_weight;
    if (partial.defined()) {
      grad_weight = at::zeros({shape.width}, partial.options());
      for (int64_t i = 0; i < parts; ++i) grad_weight.add_(partial[i]);
      grad_weight = grad_weight.to(weight.scalar_type());
    }
    return {grad_x, grad_weight, at::Tensor()};
  }
};

// Means of rows, [..., 1] of f32 [..., width].
struct RowMean : Function<RowMean> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x) {
    const RowShape shape = row_shape(x);
    std::vector<int64_t> sizes = x.sizes().vec();
    ctx->saved_data["width"] = sizes.back();
    sizes.back() = 1;
    at::Tensor mean = at::empty(sizes, x.options());
    const auto* from = in<float>(x);
    auto* to = out<float>(mean);
    at::parallel_for(0, shape.rows, shape.grain, [&](int64_t first, int64_t last) {
      kernels::row_means(from + first * shape.width, to + first, last - first, shape.width);
    });
    return mean;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const int64_t width = ctx->saved_data["width"].toInt();
    std::vector<int64_t> sizes = grads[0].sizes().vec();
    sizes.back() = width;
    return {(grads[0] / static_cast<double>(width)).expand(sizes)};
  }
};

kernels::RopeShape rope_shape(const at::Tensor& x, const at::Tensor& cos) {
  return {x.size(2), x.size(3), cos.size(-1), cos.size(0) * cos.size(1)};
}

at::Tensor rope_forward(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, float sign) {
  at::Tensor y = at::empty_like(x);
  const kernels::RopeShape shape = rope_shape(x, cos);
  const int64_t grain = std::max<int64_t>(1, kElementGrain / std::max<int64_t>(1, shape.heads * shape.head_dim));
  by_dtype(x, [&](auto type) {
    using T = decltype(type);
    const T *px = in<T>(x), *pc = in<T>(cos), *ps = in<T>(sin);
    T* py = out<T>(y);
    at::parallel_for(0, x.size(0) * x.size(1), grain,
                     [&](int64_t first, int64_t last) { kernels::rope(px, pc, ps, py, shape, first, last, sign); });
  });
  return y;
}

struct RopeFunction : Function<RopeFunction> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
    ctx->save_for_backward({cos, sin});
    return rope_forward(x, cos, sin, 1.0F);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    return {rope_forward(grads[0].contiguous(), saved[0], saved[1], -1.0F), at::Tensor(), at::Tensor()};
  }
};

struct SpreadScalar : Function<SpreadScalar> {
  static at::Tensor forward(AutogradContext*, const at::Tensor& scalar, at::IntArrayRef sizes) {
    return scalar.expand(sizes);
  }
  static variable_list backward(AutogradContext*, const variable_list& grads) {
    return {fixed_sum(grads[0]), at::Tensor()};
  }
};

at::Tensor silu_mul_forward(const at::Tensor& gate, const at::Tensor& up) {
  at::Tensor y = at::empty_like(gate);
  by_dtype(gate, [&](auto type) {
    using T = decltype(type);
    const T *pg = in<T>(gate), *pu = in<T>(up);
    T* py = out<T>(y);
    at::parallel_for(0, gate.numel(), kElementGrain, [&](int64_t first, int64_t last) {
      kernels::silu_mul(pg + first, pu + first, py + first, last - first);
    });
  });
  return y;
}

struct SiluMulFunction : Function<SiluMulFunction> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& gate, const at::Tensor& up) {
    ctx->save_for_backward({gate, up});
    return silu_mul_forward(gate, up);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor &gate = saved[0], &up = saved[1];
    const at::Tensor grad_y = grads[0].contiguous();
    at::Tensor grad_gate = at::empty_like(gate), grad_up = at::empty_like(up);
    by_dtype(gate, [&](auto type) {
      using T = decltype(type);
      const T *pg = in<T>(gate), *pu = in<T>(up), *py = in<T>(grad_y);
      T *pgg = out<T>(grad_gate), *pgu = out<T>(grad_up);
      at::parallel_for(0, gate.numel(), kElementGrain, [&](int64_t first, int64_t last) {
        kernels::silu_mul_backward(pg + first, pu + first, py + first, pgg + first, pgu + first, last - first);
      });
    });
    return {grad_gate, grad_up};
  }
};

}  // namespace

at::Tensor rms_norm_ref(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const at::Tensor wide = x.to(at::kFloat);
  return weight * (wide * at::rsqrt(wide.square().mean(-1, true) + eps)).to(x.scalar_type());
}

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  ARKIT_CHECK(weight.dim() == 1 && x.dim() > 0 && x.size(-1) == weight.size(0),
              str("rms_norm: width ", x.dim() == 0 ? 0 : x.size(-1), " and a weight of ", weight.numel()));
  if (!fused_dtype(x) || !same_kind(x, weight)) return rms_norm_ref(x, weight, eps);
  if (needs_grad(x) || needs_grad(weight)) return RmsNormFunction::apply(x.contiguous(), weight.contiguous(), eps);
  return rms_norm_forward(x.contiguous(), weight.contiguous(), eps, at::Tensor());
}

at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double eps) {
  const at::Tensor wide = x.to(at::kFloat);
  const at::Tensor normed = rms_norm(wide - RowMean::apply(wide.contiguous()), weight.to(at::kFloat), eps);
  return (bias.defined() ? normed + bias.to(at::kFloat) : normed).to(x.scalar_type());
}

at::Tensor apply_norm(const Norms& norms, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  if (norms.kind == "layer") return layer_norm(x, weight, bias, norms.epsilon);
  if (!norms.wide) return rms_norm(x, weight, norms.epsilon);
  const at::Tensor factor = weight.to(at::kFloat);
  return rms_norm(x.to(at::kFloat), norms.offset == 0.0 ? factor : factor + norms.offset, norms.epsilon)
      .to(x.scalar_type());
}

at::Tensor apply_rope_ref(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  const int64_t half = cos.size(-1);
  const at::Tensor c = cos.unsqueeze(2), s = sin.unsqueeze(2);
  const at::Tensor x1 = x.narrow(-1, 0, half), x2 = x.narrow(-1, half, half);
  const at::Tensor rest = x.narrow(-1, 2 * half, x.size(-1) - 2 * half);
  return at::cat({x1 * c + (-x2) * s, x2 * c + x1 * s, rest}, -1);
}

namespace {

// Channels 2i to place i and 2i + 1 to place half + i of the first 2 * half, or back.
at::Tensor reordered(const at::Tensor& x, int64_t half, bool back) {
  const at::Tensor turning = x.narrow(-1, 0, 2 * half), rest = x.narrow(-1, 2 * half, x.size(-1) - 2 * half);
  const at::Tensor pairs = back ? turning.unflatten(-1, {2, half}) : turning.unflatten(-1, {half, 2});
  return at::cat({pairs.transpose(-1, -2).flatten(-2), rest}, -1);
}

}  // namespace

at::Tensor apply_rope(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, bool neighbours) {
  if (neighbours) return reordered(apply_rope(reordered(x, cos.size(-1), false), cos, sin), cos.size(-1), true);
  ARKIT_CHECK(x.dim() == 4 && cos.dim() == 3 && cos.sizes() == sin.sizes() && cos.size(1) == x.size(1) &&
                  (cos.size(0) == 1 || cos.size(0) == x.size(0)) && 2 * cos.size(-1) <= x.size(-1),
              "apply_rope: x must be [batch, seqlen, heads, head_dim] and the tables [1 or batch, seqlen, dim / 2]");
  if (!fused_dtype(x) || !same_kind(x, cos) || !cos.is_contiguous() || !sin.is_contiguous())
    return apply_rope_ref(x, cos, sin);
  if (needs_grad(x)) return RopeFunction::apply(x.contiguous(), cos, sin);
  return rope_forward(x.contiguous(), cos, sin, 1.0F);
}

at::Tensor fixed_sum(const at::Tensor& x) {
  at::Tensor rest = x.to(at::kFloat).reshape({-1});
  if (rest.numel() == 0) return at::zeros({1}, at::kFloat);
  while (rest.numel() > 1) {
    const int64_t half = rest.numel() / 2, odd = rest.numel() % 2;
    at::Tensor sum = rest.narrow(0, 0, half) + rest.narrow(0, half, half);
    rest = odd == 0 ? sum : at::cat({sum, rest.narrow(0, 2 * half, 1)});
  }
  return rest;
}

at::Tensor spread_scalar(const at::Tensor& scalar, at::IntArrayRef sizes) {
  ARKIT_CHECK(scalar.numel() == 1, "spread_scalar: expected one element");
  return SpreadScalar::apply(scalar.reshape({1}), sizes);
}

at::Tensor silu_mul_ref(const at::Tensor& gate, const at::Tensor& up) {
  return at::silu(gate) * up;
}

at::Tensor silu_mul(const at::Tensor& gate, const at::Tensor& up) {
  ARKIT_CHECK(gate.sizes() == up.sizes(), "silu_mul: gate and up differ in shape");
  if (!fused_dtype(gate) || !same_kind(gate, up)) return silu_mul_ref(gate, up);
  if (needs_grad(gate) || needs_grad(up)) return SiluMulFunction::apply(gate.contiguous(), up.contiguous());
  return silu_mul_forward(gate.contiguous(), up.contiguous());
}

std::optional<Activation> find_activation(std::string_view name) {
  if (name == "silu" || name == "swish") return Activation::silu;
  if (name == "gelu") return Activation::gelu;
  if (name == "gelu_pytorch_tanh" || name == "gelu_new") return Activation::gelu_tanh;
  if (name == "relu") return Activation::relu;
  return std::nullopt;
}

namespace {

at::Tensor fixed_gelu(const at::Tensor& gate, bool tanh) {
  const at::Tensor x = gate.to(at::kFloat).contiguous();
  at::Tensor y = at::empty_like(x);
  at::parallel_for(0, x.numel(), 1024, [&](int64_t begin, int64_t end) {
    const float* from = x.const_data_ptr<float>() + begin;
    float* to = y.mutable_data_ptr<float>() + begin;
    if (tanh)
      kernels::fixed_gelu_tanh(from, to, end - begin);
    else
      kernels::fixed_gelu(from, to, end - begin);
  });
  return y.to(gate.scalar_type());
}

}  // namespace

at::Tensor gated(Activation activation, const at::Tensor& gate, const at::Tensor& up) {
  const bool gelu = activation == Activation::gelu || activation == Activation::gelu_tanh;
  if (gelu && FixedOrder::active()) return fixed_gelu(gate, activation == Activation::gelu_tanh) * up;
  switch (activation) {
    case Activation::silu:
      return silu_mul(gate, up);
    case Activation::gelu:
      return at::gelu(gate) * up;
    case Activation::gelu_tanh:
      return at::gelu(gate, "tanh") * up;
    case Activation::relu:
      return at::relu(gate) * up;
  }
  throw_internal(__FILE__, __LINE__, "activation", "unknown activation");
}

}  // namespace arkit::sdk
