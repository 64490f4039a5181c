#pragma once
// The two layouts integer checkpoints come in, GPTQ's and AWQ's, as tensors: what exporters write
// (docs/spec/packing.md 2 to 4).
//
//   GPTQ   qweight I32 [in / 32 * b, out]   codes along in, transposed
//          qzeros  I32 [G, out / 32 * b]    zeros along out
//   AWQ    qweight I32 [in, out / 32 * b]   codes along out, interleaved
//          qzeros  I32 [G, out / 32 * b]    the same way
//   both   scales  F16 [G, out]             the transposed scale
//
// Readers do not use this: they decode through bit_decode.h, which shares no code with the packers.

#include <ATen/core/Tensor.h>

#include <arkit/descriptors.h>
#include <arkit/model_source.h>
#include <arkit/scheme.h>

namespace arkit::sdk {

// What a stored zero code z means: the old GPTQ convention subtracts one before storing (W = (u - (z + 1)) * s), every
// other layout stores the zero point itself.
enum class ZeroConvention { minus_one, direct };

struct GptqLayout {
  ZeroConvention zeros = ZeroConvention::minus_one;
  bool g_idx = false;      // I32 [in]: the group of each input
  bool act_order = false;  // readers of the format follow g_idx, so it may scatter the groups (group_index.h)
};

// [out, in] u8 codes <-> qweight. in % 32 == 0 and out % 8 == 0 respectively; exporters check that in supports().
[[nodiscard]] at::Tensor pack_gptq_codes(const at::Tensor& codes, int bits);
[[nodiscard]] at::Tensor unpack_gptq_codes(const at::Tensor& qweight, int bits);
[[nodiscard]] at::Tensor pack_awq_codes(const at::Tensor& codes, int bits);
[[nodiscard]] at::Tensor unpack_awq_codes(const at::Tensor& qweight, int bits);

// The tensors of one layer by suffix: qweight, qzeros, scales and g_idx where asked for; no bias.
//
// A zero point of 0 has no code in the `minus_one` convention: it is stored as 0, which reads as 1. The codes of such a
// group go up by one with it, so that only the largest code of the group loses a step; the reference leaves them and
// shifts the whole group.
[[nodiscard]] TensorMap pack_gptq(const QuantizedWeight& weight, const TensorQuant& quant, const GptqLayout& layout);
[[nodiscard]] TensorMap pack_awq(const QuantizedWeight& weight, const TensorQuant& quant);

// The inverse of the above. A symmetric layer comes back without zero points. Throws ErrorCode::internal on a shape
// that does not belong to [out, in]. A g_idx that scatters the groups comes back as group_index.
[[nodiscard]] QuantizedWeight unpack_gptq(const TensorMap& packed, const TensorQuant& quant, int64_t out, int64_t in,
                                          ZeroConvention zeros);
[[nodiscard]] QuantizedWeight unpack_awq(const TensorMap& packed, const TensorQuant& quant, int64_t out, int64_t in);

}  // namespace arkit::sdk
