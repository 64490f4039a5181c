#include <arkit/sdk/gguf_blocks.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

namespace arkit::sdk {
namespace {

// In the order of BlockType.
constexpr std::array<std::string_view, 16> kNames{"q4_0", "q4_1", "q5_0", "q5_1",   "q8_0",  "iq4_nl", "q2_k",  "q3_k",
                                                  "q4_k", "q5_k", "q6_k", "iq4_xs", "mxfp4", "nvfp4",  "tq1_0", "tq2_0"};

constexpr std::array<float, 16> kIq4{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
constexpr std::array<float, 16> kE2m1{0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6};
constexpr std::array<float, 3> kTrits{-1, 0, 1};

}  // namespace

std::span<const std::string_view> block_type_names() {
  return kNames;
}

std::string_view name_of(BlockType type) {
  return kNames.at(static_cast<size_t>(type));
}

std::optional<BlockType> find_block_type(std::string_view data_type) {
  const auto it = std::find(kNames.begin(), kNames.end(), data_type);
  if (it == kNames.end()) return std::nullopt;
  return static_cast<BlockType>(it - kNames.begin());
}

std::span<const float> levels_of(BlockType type) {
  switch (type) {
    case BlockType::iq4_nl:
    case BlockType::iq4_xs:
      return kIq4;
    case BlockType::mxfp4:
    case BlockType::nvfp4:
      return kE2m1;
    case BlockType::tq1_0:
    case BlockType::tq2_0:
      return kTrits;
    default:
      return {};
  }
}

float ue4m3_to_float(uint8_t byte) noexcept {
  const int exponent = byte >> 3 & 15, mantissa = byte & 7;
  if ((byte & 127) == 127) return 0;  // no number: as its readers take it
  if (exponent == 0) return static_cast<float>(mantissa) * 0x1p-9F;
  return std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
}

uint8_t float_to_ue4m3(float value) noexcept {
  constexpr uint8_t kMost = 126;
  if (!(value > 0)) return 0;
  if (value >= 448) return kMost;
  constexpr float kLeastNormal = 0x1p-6F;
  if (value < kLeastNormal) return static_cast<uint8_t>(std::min(7, static_cast<int>(value * 512 + 0.5F)));
  // Three bits of the mantissa stay; a carry goes on into the exponent.
  const uint32_t bits = std::bit_cast<uint32_t>(value) + (uint32_t{1} << 19);
  const auto code = static_cast<int>(bits >> 20) - (120 << 3);
  return static_cast<uint8_t>(std::min<int>(code, kMost));
}

float e8m0_to_float(uint8_t byte) noexcept {
  return byte == 0 ? 0x1p-127F : std::bit_cast<float>(static_cast<uint32_t>(byte) << 23);
}

uint8_t float_to_e8m0(float power) noexcept {
  return static_cast<uint8_t>(std::bit_cast<uint32_t>(power) >> 23);
}

TensorQuant quant_of(BlockType type) {
  const BlockShape shape = shape_of(type);
  TensorQuant quant;
  quant.data_type = name_of(type);
  quant.bits = shape.bits;
  quant.group_size = shape.group;
  quant.sym = !shape.minima;
  quant.super_bits = shape.scale_bits;
  quant.super_group_size = shape.scale_bits > 0 ? shape.block / shape.group : 0;
  return quant;
}

}  // namespace arkit::sdk
