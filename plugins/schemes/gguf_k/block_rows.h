#pragma once
// Matrices over the row kernels: QuantizedWeight from numbers and back.

#include <ATen/core/Tensor.h>

#include <arkit/scheme.h>

#include "ggml_rows.h"
#include "search.h"

namespace arkit::gguf_k {

inline constexpr int64_t kGrain = int64_t{1} << 14;  // numbers a thread takes at least

// [out, in], in a multiple of the type's block; f32, bf16 or f16, contiguous. `importance`: f32 [in] or undefined.
// Of types with super-blocks `scale` and `group_min` are codes and super_scale and super_min have float16's values; of
// others `scale` has them, and `offset`, where the type has minima. Codes are those of BlockType; all but codes is f32.
// NVFP4 has scales of groups, halves of UE4M3 values, and global_scale, which multiplies them: the largest weight / 2688.
// Throws ErrorCode::input for a NaN or an infinity.
[[nodiscard]] QuantizedWeight quantize(const at::Tensor& weight, BlockType type, const at::Tensor& importance,
                                       Search search);

// What a code of each group is worth, f32 [out, groups]: weight = scale * code - minimum, minimum undefined for types
// without.
struct GroupValues {
  at::Tensor scale, minimum;
};
[[nodiscard]] GroupValues group_values(const QuantizedWeight& weight, BlockType type);

// As ggml does it, in every bit before the conversion to `dtype`.
[[nodiscard]] at::Tensor dequantize(const QuantizedWeight& weight, BlockType type, at::ScalarType dtype);

}  // namespace arkit::gguf_k
