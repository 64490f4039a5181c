#pragma once
// y = x W^T in one fixed order of additions. No LibTorch here.

#include <cstdint>

#include <arkit/export.h>

namespace arkit::kernels {

inline constexpr int64_t kProductRows = 16;    // rows of x that lie side by side
inline constexpr int64_t kProductOutputs = 8;  // outputs of a task

// x as [units, in, kProductRows]: `units` times sixteen rows, transposed, the last ones padded with zeros.
void pack_rows(const float* x, int64_t rows, int64_t in, float* packed);

// Outputs [first, first + count) of y [rows, out], count <= kProductOutputs. Element (r, o) is the sum over chunks of
// 256 inputs, in their order, of sums over the chunk's inputs, of each pair the second first: for bf16, whose products
// are exact in f32, that is what the instruction VDPBF16PS computes. Products and sums are rounded each.
// Weights are f32 or, as their upper halves, bf16 [out, in].
void product_strip(const float* packed, const float* weight, int64_t rows, int64_t in, int64_t out, int64_t first,
                   int64_t count, float* y);
void product_strip(const float* packed, const uint16_t* weight, int64_t rows, int64_t in, int64_t out, int64_t first,
                   int64_t count, float* y);

// The same, slow and obvious, from x [rows, in].
ARKIT_INTERNAL void product_ref(const float* x, const float* weight, int64_t rows, int64_t in, int64_t out, float* y);

}  // namespace arkit::kernels
