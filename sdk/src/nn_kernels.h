#pragma once
// Element loops of the decoder pieces in nn.h: one pass forward, one pass backward, f32 or bf16. No LibTorch here.
// All arrays are contiguous; `rows` x `width` matrices row by row. bf16 results are rounded wherever the reference's
// chain of operators rounds, so that both give the same bits.

#include <cstdint>

namespace arkit::sdk::kernels {

struct Bf16 {
  uint16_t bits;
};

// y = weight * round(x * rsqrt(mean(x^2) + eps)); inv_rms [rows] may be null.
void rms_norm(const float* x, const float* weight, float* y, float* inv_rms, int64_t rows, int64_t width, float eps);
void rms_norm(const Bf16* x, const Bf16* weight, Bf16* y, float* inv_rms, int64_t rows, int64_t width, float eps);

// grad_x = r (g - n mean(g n)) with n = x r, g = grad_y weight. grad_x may be null. grad_weight [width] f32 is added to
// when not null.
void rms_norm_backward(const float* x, const float* weight, const float* inv_rms, const float* grad_y, float* grad_x,
                       float* grad_weight, int64_t rows, int64_t width);
void rms_norm_backward(const Bf16* x, const Bf16* weight, const float* inv_rms, const Bf16* grad_y, Bf16* grad_x,
                       float* grad_weight, int64_t rows, int64_t width);

// mean[i] = sum of row i / width.
void row_means(const float* x, float* mean, int64_t rows, int64_t width);

// Tokens [first, last) of x [tokens, heads, head_dim]: halves of the first 2 * half channels rotate (y1 = x1 cos - x2
// sin, y2 = x2 cos + x1 sin), the rest is copied. Token t uses table row t % table_rows of cos, sin [table_rows, half].
// `sign` -1 rotates back, which is the gradient.
struct RopeShape {
  int64_t heads, head_dim, half, table_rows;
};
void rope(const float* x, const float* cos, const float* sin, float* y, const RopeShape& shape, int64_t first,
          int64_t last, float sign);
void rope(const Bf16* x, const Bf16* cos, const Bf16* sin, Bf16* y, const RopeShape& shape, int64_t first, int64_t last,
          float sign);

// y = round(silu(gate)) * up.
void silu_mul(const float* gate, const float* up, float* y, int64_t n);
void silu_mul(const Bf16* gate, const Bf16* up, Bf16* y, int64_t n);
void silu_mul_backward(const float* gate, const float* up, const float* grad_y, float* grad_gate, float* grad_up,
                       int64_t n);
void silu_mul_backward(const Bf16* gate, const Bf16* up, const Bf16* grad_y, Bf16* grad_gate, Bf16* grad_up, int64_t n);

}  // namespace arkit::sdk::kernels
