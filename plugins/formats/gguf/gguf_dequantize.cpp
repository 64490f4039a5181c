#include "gguf_dequantize.h"

#include <array>
#include <cstring>

#include <arkit/sdk/float16.h>

#include "gguf_codes.h"

namespace arkit::gguf {
namespace {

uint16_t half_word(const std::byte* at) {
  uint16_t value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

// One block at a time: codes stay in the first cache.
void dequantize_blocks(const TypeInfo& type, const std::byte* blocks, int64_t elements, float* out, float factor) {
  const CodeLayout layout = code_layout(type.type);
  const auto groups = static_cast<int>(type.block_size) / layout.group_size;
  const auto zero = static_cast<float>(layout.zero());
  std::array<uint8_t, kMostBlock> codes;
  std::array<float, kMostGroups> scales, offsets;
  for (int64_t done = 0; done < elements; done += type.block_size, blocks += type.block_bytes) {
    decode(type.type, blocks, type.block_size, codes.data(), scales.data(), offsets.data());
    const uint8_t* code = codes.data();
    for (int g = 0; g < groups; ++g, code += layout.group_size, out += layout.group_size) {
      const float scale = scales[static_cast<size_t>(g)] * factor;
      if (layout.has_offsets) {
        const float offset = offsets[static_cast<size_t>(g)] * factor;
        for (int i = 0; i < layout.group_size; ++i) out[i] = scale * static_cast<float>(code[i]) + offset;
      } else {
        for (int i = 0; i < layout.group_size; ++i) out[i] = scale * (static_cast<float>(code[i]) - zero);
      }
    }
  }
}

}  // namespace

void dequantize(TensorType type, const std::byte* blocks, int64_t elements, float* out, float factor) noexcept {
  switch (type) {
    case TensorType::f32:
      std::memcpy(out, blocks, static_cast<size_t>(elements) * sizeof(float));
      return;
    case TensorType::f16:
      for (int64_t i = 0; i < elements; ++i) out[i] = sdk::float16_to_float(half_word(blocks + 2 * i));
      return;
    case TensorType::bf16:
      for (int64_t i = 0; i < elements; ++i) out[i] = sdk::bfloat16_to_float(half_word(blocks + 2 * i));
      return;
    default:
      return dequantize_blocks(*find_type(static_cast<uint32_t>(type)), blocks, elements, out, factor);
  }
}

}  // namespace arkit::gguf
