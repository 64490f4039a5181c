#pragma once
// Codes packed row by row, the way compressed-tensors and MLX store integer weights (docs/spec/packing.md 5):
//
//   codes [rows, n] u8  ->  I32 [rows, ceil(n * b / 32)]     every row is one bit stream BS(b) of its own
//
// A row whose codes do not fill its last word is filled up with zeros.

#include <ATen/core/Tensor.h>

namespace arkit::sdk {

// I32 words of a row of `n` codes.
[[nodiscard]] int64_t row_words(int64_t n, int bits);

[[nodiscard]] at::Tensor pack_rows(const at::Tensor& codes, int bits);
// The first `n` codes of every row, u8 [rows, n], from contiguous 32-bit words of at least row_words(n, bits) a row.
// Decodes through bit_decode.h, which shares no code with the packers.
[[nodiscard]] at::Tensor decode_rows(const at::Tensor& words, int64_t n, int bits);

}  // namespace arkit::sdk
