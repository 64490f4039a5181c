#include "gguf_blocks.h"

#include <algorithm>
#include <string>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <arkit/error.h>
#include <arkit/sdk/gguf_scales.h>
#include <arkit/str.h>

#include "gguf_codes.h"
#include "gguf_encode.h"

namespace arkit::gguf {

TensorType tensor_type(sdk::BlockType type) {
  for (uint32_t id = 0; id < 64; ++id)
    if (const TypeInfo* info = find_type(id); info != nullptr && lower(std::string(info->name)) == sdk::name_of(type))
      return info->type;
  ARKIT_CHECK(false, str("no tensor type is called ", sdk::name_of(type)));
  return {};
}

BlockRows::BlockRows(const QuantizedWeight& weight, sdk::BlockType type)
    : shape_(sdk::shape_of(type)), type_(tensor_type(type)), columns_(weight.codes.size(1)) {
  block_bytes_ = find_type(static_cast<uint32_t>(type_))->block_bytes;
  row_bytes_ = columns_ / shape_.block * block_bytes_;
  const bool super = shape_.scale_bits > 0;
  codes_ = weight.codes.contiguous();
  const auto floats = [](const at::Tensor& tensor) { return tensor.to(at::kFloat).contiguous(); };
  if (type == sdk::BlockType::nvfp4) {
    const at::Tensor halves = floats(weight.scale);
    const auto* from = halves.const_data_ptr<float>();
    scales_ = at::empty(halves.sizes(), at::kChar);
    std::transform(from, from + halves.numel(), scales_.mutable_data_ptr<int8_t>(),
                   [](float half) { return static_cast<int8_t>(sdk::ue4m3_of(2 * half)); });
    ARKIT_CHECK(codes_.scalar_type() == at::kByte && codes_.numel() == halves.numel() * shape_.group,
                "codes and scales of groups do not fit together");
    return;
  }
  d_ = floats(super ? weight.super_scale : weight.scale);
  if (shape_.minima) dmin_ = super ? floats(weight.super_min) : floats(weight.offset).neg();
  if (super) scales_ = weight.scale.to(at::kChar).contiguous();
  if (super && shape_.minima) minima_ = weight.group_min.to(at::kByte).contiguous();
  ARKIT_CHECK(codes_.scalar_type() == at::kByte && d_.numel() * shape_.block == codes_.numel(),
              "codes and scales of blocks do not fit together");
}

void BlockRows::encode(int64_t row, std::byte* to) const {
  const int64_t blocks = columns_ / shape_.block, groups = shape_.block / shape_.group;
  const auto* codes = codes_.const_data_ptr<uint8_t>() + row * columns_;
  const float* d = d_.defined() ? d_.const_data_ptr<float>() + row * blocks : nullptr;
  const float* dmin = dmin_.defined() ? dmin_.const_data_ptr<float>() + row * blocks : nullptr;
  const int8_t* scales = scales_.defined() ? scales_.const_data_ptr<int8_t>() + row * blocks * groups : nullptr;
  const uint8_t* minima = minima_.defined() ? minima_.const_data_ptr<uint8_t>() + row * blocks * groups : nullptr;
  encode_blocks({.type = type_,
                 .first = {.codes = codes, .d = 0, .dmin = 0, .scales = scales, .minima = minima},
                 .d = d,
                 .dmin = dmin,
                 .count = blocks,
                 .block = shape_.block,
                 .groups = static_cast<int>(groups),
                 .block_bytes = static_cast<int>(block_bytes_)},
                to);
}

QuantizedWeight decode_blocks(const at::Tensor& bytes, sdk::BlockType type, int64_t columns) {
  const sdk::BlockShape shape = sdk::shape_of(type);
  const TensorType stored = tensor_type(type);
  const int64_t block_bytes = find_type(static_cast<uint32_t>(stored))->block_bytes;
  const int64_t rows = bytes.size(0), blocks = columns / shape.block, groups = shape.block / shape.group;
  ARKIT_CHECK(bytes.scalar_type() == at::kByte && bytes.size(1) == blocks * block_bytes, "bytes are no whole blocks");
  const bool super = shape.scale_bits > 0;
  QuantizedWeight weight;
  weight.codes = at::empty({rows, columns}, at::kByte);
  const at::Tensor d = at::empty({rows, blocks}, at::kFloat), dmin = at::zeros({rows, blocks}, at::kFloat);
  const at::Tensor scales = at::zeros({rows, blocks * groups}, at::kChar);
  const at::Tensor minima = at::zeros({rows, blocks * groups}, at::kByte);
  const at::Tensor whole = bytes.contiguous();
  const auto* from = static_cast<const std::byte*>(whole.const_data_ptr());
  auto* codes = weight.codes.mutable_data_ptr<uint8_t>();
  for (int64_t b = 0; b < rows * blocks; ++b)
    decode_block(stored, from + b * block_bytes,
                 {.codes = codes + b * shape.block,
                  .d = d.mutable_data_ptr<float>() + b,
                  .dmin = dmin.mutable_data_ptr<float>() + b,
                  .scales = scales.mutable_data_ptr<int8_t>() + b * groups,
                  .minima = minima.mutable_data_ptr<uint8_t>() + b * groups});
  if (type == sdk::BlockType::nvfp4) {
    weight.scale = at::empty({rows, blocks * groups}, at::kFloat);
    const auto* from_scales = scales.const_data_ptr<int8_t>();
    std::transform(from_scales, from_scales + scales.numel(), weight.scale.mutable_data_ptr<float>(),
                   [](int8_t byte) { return sdk::half_of_ue4m3(static_cast<uint8_t>(byte)); });
  } else if (super) {
    weight.scale = scales.to(at::kFloat);
    weight.super_scale = d;
    if (shape.minima) weight.group_min = minima.to(at::kFloat);
    if (shape.minima) weight.super_min = dmin;
  } else {
    weight.scale = d;
    if (shape.minima) weight.offset = dmin.neg();
  }
  return weight;
}

}  // namespace arkit::gguf
