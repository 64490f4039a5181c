#include "nn_kernels.h"

#include <cmath>

#include "kernel_math.h"

namespace arkit::sdk::kernels {
namespace {

template <typename T>
ARKIT_INLINE void rms_norm_rows(const T* x, const T* weight, T* y, float* inv_rms, int64_t rows, int64_t width,
                                float eps) {
  for (int64_t row = 0; row < rows; ++row, x += width, y += width) {
    const float sum = lane_sum(width, [x](int64_t i) { return load(x[i]) * load(x[i]); });
    const float r = 1.0F / std::sqrt(sum / static_cast<float>(width) + eps);
    if (inv_rms != nullptr) inv_rms[row] = r;
    for (int64_t i = 0; i < width; ++i) store(y[i], load(weight[i]) * rounded<T>(load(x[i]) * r));
  }
}

template <typename T>
ARKIT_INLINE void rms_norm_backward_rows(const T* x, const T* weight, const float* inv_rms, const T* grad_y, T* grad_x,
                                         float* grad_weight, int64_t rows, int64_t width) {
  for (int64_t row = 0; row < rows; ++row, x += width, grad_y += width) {
    const float r = inv_rms[row];
    if (grad_weight != nullptr)
      for (int64_t i = 0; i < width; ++i) grad_weight[i] += load(grad_y[i]) * rounded<T>(load(x[i]) * r);
    if (grad_x == nullptr) continue;
    const float dot = lane_sum(width, [=](int64_t i) { return load(grad_y[i]) * load(weight[i]) * load(x[i]); });
    const float back = dot * r * r / static_cast<float>(width);
    for (int64_t i = 0; i < width; ++i) store(grad_x[i], r * (load(grad_y[i]) * load(weight[i]) - load(x[i]) * back));
    grad_x += width;
  }
}

ARKIT_INLINE void row_mean_rows(const float* x, float* mean, int64_t rows, int64_t width) {
  for (int64_t row = 0; row < rows; ++row, x += width)
    mean[row] = lane_sum(width, [x](int64_t i) { return x[i]; }) / static_cast<float>(width);
}

template <typename T>
ARKIT_INLINE void rope_tokens(const T* x, const T* cos, const T* sin, T* y, const RopeShape& shape, int64_t first,
                              int64_t last, float sign) {
  const int64_t half = shape.half, rest = shape.head_dim - 2 * half;
  for (int64_t token = first; token < last; ++token) {
    const T* c = cos + (token % shape.table_rows) * half;
    const T* s = sin + (token % shape.table_rows) * half;
    for (int64_t head = 0; head < shape.heads; ++head) {
      const int64_t at = (token * shape.heads + head) * shape.head_dim;
      const T* __restrict x1 = x + at;
      const T* __restrict x2 = x + at + half;
      T* __restrict y1 = y + at;
      T* __restrict y2 = y + at + half;
      for (int64_t i = 0; i < half; ++i) {
        const float a = load(x1[i]), b = load(x2[i]), co = load(c[i]), si = sign * load(s[i]);
        store(y1[i], rounded<T>(a * co) + rounded<T>(-b * si));
        store(y2[i], rounded<T>(b * co) + rounded<T>(a * si));
      }
      for (int64_t i = 0; i < rest; ++i) y[at + 2 * half + i] = x[at + 2 * half + i];
    }
  }
}

template <typename T>
ARKIT_INLINE void silu_mul_span(const T* __restrict gate, const T* __restrict up, T* __restrict y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const float g = load(gate[i]);
    store(y[i], rounded<T>(g / (1.0F + fast_exp(-g))) * load(up[i]));
  }
}

template <typename T>
ARKIT_INLINE void silu_mul_backward_span(const T* __restrict gate, const T* __restrict up, const T* __restrict grad_y,
                                         T* __restrict grad_gate, T* __restrict grad_up, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const float g = load(gate[i]), dy = load(grad_y[i]);
    const float s = 1.0F / (1.0F + fast_exp(-g));
    store(grad_up[i], dy * rounded<T>(g * s));
    store(grad_gate[i], dy * load(up[i]) * (s * (1.0F + g * (1.0F - s))));
  }
}

}  // namespace

void rms_norm(const float* x, const float* weight, float* y, float* inv_rms, int64_t rows, int64_t width, float eps) {
  by_kernel_set<rms_norm_rows<float>>(x, weight, y, inv_rms, rows, width, eps);
}
void rms_norm(const Bf16* x, const Bf16* weight, Bf16* y, float* inv_rms, int64_t rows, int64_t width, float eps) {
  by_kernel_set<rms_norm_rows<Bf16>>(x, weight, y, inv_rms, rows, width, eps);
}
void rms_norm_backward(const float* x, const float* weight, const float* inv_rms, const float* grad_y, float* grad_x,
                       float* grad_weight, int64_t rows, int64_t width) {
  by_kernel_set<rms_norm_backward_rows<float>>(x, weight, inv_rms, grad_y, grad_x, grad_weight, rows, width);
}
void rms_norm_backward(const Bf16* x, const Bf16* weight, const float* inv_rms, const Bf16* grad_y, Bf16* grad_x,
                       float* grad_weight, int64_t rows, int64_t width) {
  by_kernel_set<rms_norm_backward_rows<Bf16>>(x, weight, inv_rms, grad_y, grad_x, grad_weight, rows, width);
}
void row_means(const float* x, float* mean, int64_t rows, int64_t width) {
  by_kernel_set<row_mean_rows>(x, mean, rows, width);
}
void rope(const float* x, const float* cos, const float* sin, float* y, const RopeShape& shape, int64_t first,
          int64_t last, float sign) {
  by_kernel_set<rope_tokens<float>>(x, cos, sin, y, shape, first, last, sign);
}
void rope(const Bf16* x, const Bf16* cos, const Bf16* sin, Bf16* y, const RopeShape& shape, int64_t first, int64_t last,
          float sign) {
  by_kernel_set<rope_tokens<Bf16>>(x, cos, sin, y, shape, first, last, sign);
}
void silu_mul(const float* gate, const float* up, float* y, int64_t n) {
  by_kernel_set<silu_mul_span<float>>(gate, up, y, n);
}
void silu_mul(const Bf16* gate, const Bf16* up, Bf16* y, int64_t n) {
  by_kernel_set<silu_mul_span<Bf16>>(gate, up, y, n);
}
void silu_mul_backward(const float* gate, const float* up, const float* grad_y, float* grad_gate, float* grad_up,
                       int64_t n) {
  by_kernel_set<silu_mul_backward_span<float>>(gate, up, grad_y, grad_gate, grad_up, n);
}
void silu_mul_backward(const Bf16* gate, const Bf16* up, const Bf16* grad_y, Bf16* grad_gate, Bf16* grad_up,
                       int64_t n) {
  by_kernel_set<silu_mul_backward_span<Bf16>>(gate, up, grad_y, grad_gate, grad_up, n);
}

}  // namespace arkit::sdk::kernels
