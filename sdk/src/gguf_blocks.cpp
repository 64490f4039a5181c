#include <arkit/sdk/gguf_blocks.h>

#include <algorithm>
#include <array>

namespace arkit::sdk {
namespace {

// In the order of BlockType.
constexpr std::array<std::string_view, 16> kNames{"q4_0",  "q4_1",  "q5_0",  "q5_1", "q8_0", "iq4_nl",
                                                  "q2_k",  "q3_k",  "q4_k",  "q5_k", "q6_k", "iq4_xs",
                                                  "mxfp4", "nvfp4", "tq1_0", "tq2_0"};

constexpr std::array<float, 16> kIq4{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
constexpr std::array<float, 16> kE2m1{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};  // twice
constexpr std::array<float, 3> kTrits{-1, 0, 1};

std::optional<BlockType> type_of_bits(BlockType from, int bits) {
  using enum BlockType;
  if (shape_of(from).bits == bits) return from;
  const bool plain = from <= q8_0, minima = from == q4_1 || from == q5_1;
  switch (bits) {
    case 2:
      return q2_k;
    case 3:
      return q3_k;
    case 4:
      return !plain ? q4_k : minima ? q4_1 : q4_0;
    case 5:
      return !plain ? q5_k : minima ? q5_1 : q5_0;
    case 6:
      return q6_k;
    case 8:
      return q8_0;
    default:
      return std::nullopt;
  }
}

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

std::optional<TensorQuant> quant_of_bits(const TensorQuant& quant, int bits) {
  const auto from = find_block_type(quant.data_type);
  const auto type = from ? type_of_bits(*from, bits) : std::nullopt;
  if (!type) return std::nullopt;
  TensorQuant other = quant_of(*type);
  if (has_auto_round_search(*type)) other.observer = quant.observer;
  return other;
}

}  // namespace arkit::sdk
