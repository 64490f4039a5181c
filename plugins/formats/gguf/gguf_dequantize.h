#pragma once
// GGUF blocks to float32, bit for bit as ggml does it (docs/spec/gguf-reading.md 3): every formula in binary32, in the
// written order, without fused multiply-add. No LibTorch here.

#include <cstddef>
#include <cstdint>

#include "gguf_types.h"

namespace arkit::gguf {

// `elements` is a multiple of the type's block size; `blocks` need no alignment. F32 is copied. `factor` multiplies the
// scales of blocks (gguf_tensor_scales.h).
void dequantize(TensorType type, const std::byte* blocks, int64_t elements, float* out, float factor = 1) noexcept;

}  // namespace arkit::gguf
