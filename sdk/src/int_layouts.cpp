#include <arkit/sdk/int_layouts.h>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <arkit/error.h>
#include <arkit/sdk/bit_pack.h>
#include <arkit/sdk/group.h>
#include <arkit/sdk/group_index.h>
#include <arkit/str.h>

namespace arkit::sdk {
namespace {

constexpr int64_t kGrain = 64;  // outputs or inputs a thread packs at least

const at::Tensor& expect_codes(const at::Tensor& codes, int bits, int64_t out_multiple, int64_t in_multiple) {
  ARKIT_CHECK(bits >= 1 && bits <= kMaxPackBits, str("cannot pack ", bits, "-bit codes"));
  ARKIT_CHECK(codes.dim() == 2 && codes.scalar_type() == at::kByte && codes.is_contiguous(),
              "codes must be a contiguous u8 matrix [out, in]");
  ARKIT_CHECK(codes.size(0) % out_multiple == 0 && codes.size(1) % in_multiple == 0,
              str("codes of shape [", codes.size(0), ", ", codes.size(1), "] do not fill whole words"));
  return codes;
}

uint8_t* bytes(at::Tensor& t) {
  return static_cast<uint8_t*>(t.data_ptr());
}
const uint8_t* bytes(const at::Tensor& t) {
  return static_cast<const uint8_t*>(t.const_data_ptr());
}

// Zero points as codes, [G, out] u8.
at::Tensor zero_codes(const QuantizedWeight& weight, int bits, ZeroConvention zeros) {
  const double top = double((1 << bits) - 1);
  const double shift = zeros == ZeroConvention::minus_one ? 1.0 : 0.0;
  if (!weight.zero_point.defined()) {
    const double zero = double(1 << (bits - 1)) - shift;
    return at::full({weight.scale.size(1), weight.scale.size(0)}, zero, at::kByte);
  }
  return weight.zero_point.to(at::kFloat).sub(shift).clamp_(0.0, top).to(at::kByte).t().contiguous();
}

// [G, out] u8 -> I32 [G, out / 32 * b], interleaved in eights for AWQ.
at::Tensor pack_zero_rows(const at::Tensor& zeros, int bits, bool interleave) {
  const int64_t groups = zeros.size(0);
  const int64_t out = zeros.size(1);
  ARKIT_CHECK(out % 8 == 0 && out / 8 * bits % 4 == 0, str("zero points of ", out, " outputs do not fill whole words"));
  at::Tensor packed = at::empty({groups, out / 8 * bits / 4}, at::kInt);
  const uint8_t* source = bytes(zeros);
  at::Tensor shuffled;
  if (interleave) {
    shuffled = zeros.view({groups, out / 8, 8})
                   .index_select(2, at::tensor(at::ArrayRef<int>(kAwqOrder, 8), at::kLong))
                   .contiguous();
    source = bytes(shuffled);
  }
  const int64_t row_bytes = out / 8 * bits;
  for (int64_t g = 0; g < groups; ++g) pack_row(source + g * out, out, bits, bytes(packed) + g * row_bytes);
  return packed;
}

at::Tensor unpack_zero_rows(const at::Tensor& packed, int64_t out, int bits, bool interleave) {
  const int64_t groups = packed.size(0);
  ARKIT_CHECK(packed.size(1) * 32 == out * bits, "qzeros do not belong to this layer");
  at::Tensor zeros = at::empty({groups, out}, at::kByte);
  const int64_t row_bytes = out / 8 * bits;
  for (int64_t g = 0; g < groups; ++g) unpack_row(bytes(packed) + g * row_bytes, out, bits, bytes(zeros) + g * out);
  if (!interleave) return zeros;
  at::Tensor logical = at::empty_like(zeros);
  logical.view({groups, out / 8, 8})
      .index_copy_(2, at::tensor(at::ArrayRef<int>(kAwqOrder, 8), at::kLong), zeros.view({groups, out / 8, 8}));
  return logical;
}

at::Tensor stored_scales(const at::Tensor& scale) {
  return scale.to(at::kHalf).t().contiguous();
}

// Codes that mean the same under a zero point of 1 where the stored one cannot be 0; see pack_gptq.
at::Tensor codes_without_zero_zeros(const QuantizedWeight& weight, const TensorQuant& quant) {
  if (!weight.zero_point.defined()) return weight.codes;
  const at::Tensor at_zero = weight.zero_point.to(at::kFloat).eq(0);
  if (!at_zero.any().item<bool>()) return weight.codes;
  const GroupShape shape = group_shape(weight.codes.size(0), weight.codes.size(1), quant.group_size);
  const at::Tensor shift = spread_groups(at_zero.to(at::kByte), shape, weight.group_index);  // one per code
  return weight.codes.to(at::kShort).add_(shift).clamp_max_((1 << quant.bits) - 1).to(at::kByte);
}

const at::Tensor& member(const TensorMap& packed, std::string_view suffix) {
  const auto found = packed.find(suffix);
  ARKIT_CHECK(found != packed.end(), str("packed layer has no '", suffix, "'"));
  return found->second;
}

void finish_unpack(QuantizedWeight& weight, const at::Tensor& zeros, const at::Tensor& scales,
                   const TensorQuant& quant) {
  weight.scale = scales.t().contiguous();
  if (!quant.sym) weight.zero_point = zeros.t().to(at::kFloat).contiguous();
}

}  // namespace

at::Tensor pack_gptq_codes(const at::Tensor& codes, int bits) {
  expect_codes(codes, bits, 1, 32);
  const int64_t out = codes.size(0);
  const int64_t in = codes.size(1);
  at::Tensor packed = at::empty({in / 32 * bits, out}, at::kInt);
  auto* words = static_cast<uint32_t*>(packed.data_ptr());
  at::parallel_for(0, out, kGrain,
                   [&](int64_t begin, int64_t end) { pack_columns(bytes(codes), out, in, bits, begin, end, words); });
  return packed;
}

at::Tensor unpack_gptq_codes(const at::Tensor& qweight, int bits) {
  ARKIT_CHECK(qweight.dim() == 2 && qweight.size(0) % bits == 0, "qweight does not belong to these bits");
  const at::Tensor contiguous = qweight.contiguous();
  const int64_t out = qweight.size(1);
  const int64_t in = qweight.size(0) / bits * 32;
  at::Tensor codes = at::empty({out, in}, at::kByte);
  const auto* words = static_cast<const uint32_t*>(contiguous.const_data_ptr());
  at::parallel_for(0, out, kGrain,
                   [&](int64_t begin, int64_t end) { unpack_columns(words, out, in, bits, begin, end, bytes(codes)); });
  return codes;
}

at::Tensor pack_awq_codes(const at::Tensor& codes, int bits) {
  expect_codes(codes, bits, 8, 1);
  const int64_t out = codes.size(0);
  const int64_t in = codes.size(1);
  ARKIT_CHECK(out / 8 * bits % 4 == 0, str(out, " outputs of ", bits, " bits do not fill whole words"));
  at::Tensor packed = at::empty({in, out / 8 * bits / 4}, at::kInt);
  at::parallel_for(0, in, kGrain, [&](int64_t begin, int64_t end) {
    pack_awq_columns(bytes(codes), out, in, bits, begin, end, bytes(packed));
  });
  return packed;
}

at::Tensor unpack_awq_codes(const at::Tensor& qweight, int bits) {
  ARKIT_CHECK(qweight.dim() == 2 && qweight.size(1) * 32 % bits == 0, "qweight does not belong to these bits");
  const at::Tensor contiguous = qweight.contiguous();
  const int64_t in = qweight.size(0);
  const int64_t out = qweight.size(1) * 32 / bits;
  at::Tensor codes = at::empty({out, in}, at::kByte);
  at::parallel_for(0, in, kGrain, [&](int64_t begin, int64_t end) {
    unpack_awq_columns(bytes(contiguous), out, in, bits, begin, end, bytes(codes));
  });
  return codes;
}

TensorMap pack_gptq(const QuantizedWeight& weight, const TensorQuant& quant, const GptqLayout& layout) {
  TensorMap packed;
  const at::Tensor codes =
      layout.zeros == ZeroConvention::minus_one ? codes_without_zero_zeros(weight, quant) : weight.codes;
  packed["qweight"] = pack_gptq_codes(codes, quant.bits);
  packed["qzeros"] = pack_zero_rows(zero_codes(weight, quant.bits, layout.zeros), quant.bits, false);
  packed["scales"] = stored_scales(weight.scale);
  if (layout.g_idx) {
    const at::Tensor scattered = layout.act_order ? weight.group_index : at::Tensor();
    packed["g_idx"] =
        scattered.defined() ? scattered : run_index(group_shape(codes.size(0), codes.size(1), quant.group_size));
  }
  return packed;
}

TensorMap pack_awq(const QuantizedWeight& weight, const TensorQuant& quant) {
  TensorMap packed;
  packed["qweight"] = pack_awq_codes(weight.codes, quant.bits);
  packed["qzeros"] = pack_zero_rows(zero_codes(weight, quant.bits, ZeroConvention::direct), quant.bits, true);
  packed["scales"] = stored_scales(weight.scale);
  return packed;
}

QuantizedWeight unpack_gptq(const TensorMap& packed, const TensorQuant& quant, int64_t out, int64_t in,
                            ZeroConvention zeros) {
  QuantizedWeight weight;
  weight.codes = unpack_gptq_codes(member(packed, "qweight"), quant.bits);
  ARKIT_CHECK(weight.codes.size(0) == out && weight.codes.size(1) == in, "qweight does not belong to this layer");
  at::Tensor stored = unpack_zero_rows(member(packed, "qzeros").contiguous(), out, quant.bits, false).to(at::kFloat);
  if (zeros == ZeroConvention::minus_one) stored.add_(1);
  if (const auto index = packed.find(kGroupIndex); index != packed.end()) {
    const at::Tensor scattered =
        scattered_index(index->second, group_shape(out, in, quant.group_size), true, "being packed");
    if (scattered.defined()) weight.group_index = scattered;
  }
  finish_unpack(weight, stored, member(packed, "scales"), quant);
  return weight;
}

QuantizedWeight unpack_awq(const TensorMap& packed, const TensorQuant& quant, int64_t out, int64_t in) {
  QuantizedWeight weight;
  weight.codes = unpack_awq_codes(member(packed, "qweight"), quant.bits);
  ARKIT_CHECK(weight.codes.size(0) == out && weight.codes.size(1) == in, "qweight does not belong to this layer");
  finish_unpack(weight, unpack_zero_rows(member(packed, "qzeros").contiguous(), out, quant.bits, true),
                member(packed, "scales"), quant);
  return weight;
}

}  // namespace arkit::sdk
