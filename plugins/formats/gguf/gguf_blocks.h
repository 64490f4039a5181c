#pragma once
// Quantized matrices as the blocks of a file, and back.

#include <cstddef>

#include <arkit/scheme.h>
#include <arkit/sdk/gguf_blocks.h>

#include "gguf_types.h"

namespace arkit::gguf {

[[nodiscard]] TensorType tensor_type(sdk::BlockType type);

// Rows of a weight as scheme "gguf_k" has them, ready to be encoded a few at a time. `weight` outlives it.
class BlockRows {
 public:
  // Throws ErrorCode::internal for tensors that do not fit together.
  BlockRows(const QuantizedWeight& weight, sdk::BlockType type);

  [[nodiscard]] int64_t row_bytes() const noexcept { return row_bytes_; }
  void encode(int64_t row, std::byte* to) const;

 private:
  sdk::BlockShape shape_;
  TensorType type_;
  int64_t columns_, row_bytes_, block_bytes_;
  at::Tensor codes_, d_, dmin_, scales_, minima_;
};

// U8 [out, bytes of a row] -> the same weight.
[[nodiscard]] QuantizedWeight decode_blocks(const at::Tensor& bytes, sdk::BlockType type, int64_t columns);

}  // namespace arkit::gguf
