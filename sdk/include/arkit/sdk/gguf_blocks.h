#pragma once
// The block types of GGUF files: their names, their shapes, and how TensorQuant speaks of them. Schemes round into them,
// formats write them. No LibTorch here.

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include <arkit/descriptors.h>

namespace arkit::sdk {

// clang-format off
enum class BlockType { q4_0, q4_1, q5_0, q5_1, q8_0, iq4_nl, q2_k, q3_k, q4_k, q5_k, q6_k, iq4_xs, mxfp4, nvfp4, tq1_0,
                       tq2_0 };
// clang-format on

struct BlockShape {
  int bits;        // of a code
  int group;       // weights that share a scale
  int block;       // weights that share a super-scale, or lie in the file together
  bool minima;     // weight = scale * code - minimum, else scale * (code - 2^(bits - 1))
  int scale_bits;  // of the scale and minimum codes of super-blocks; 0 = none
};
[[nodiscard]] constexpr BlockShape shape_of(BlockType type) noexcept {
  switch (type) {
    case BlockType::q4_0:
      return {4, 32, 32, false, 0};
    case BlockType::q4_1:
      return {4, 32, 32, true, 0};
    case BlockType::q5_0:
      return {5, 32, 32, false, 0};
    case BlockType::q5_1:
      return {5, 32, 32, true, 0};
    case BlockType::q8_0:
      return {8, 32, 32, false, 0};
    case BlockType::iq4_nl:
      return {4, 32, 32, false, 0};
    case BlockType::q2_k:
      return {2, 16, 256, true, 4};
    case BlockType::q3_k:
      return {3, 16, 256, false, 6};
    case BlockType::q4_k:
      return {4, 32, 256, true, 6};
    case BlockType::q5_k:
      return {5, 32, 256, true, 6};
    case BlockType::q6_k:
      return {6, 16, 256, false, 8};
    case BlockType::iq4_xs:
      return {4, 32, 256, false, 6};
    case BlockType::mxfp4:
      return {4, 32, 32, false, 0};
    case BlockType::nvfp4:
      return {4, 16, 64, false, 0};
    case BlockType::tq1_0:
    case BlockType::tq2_0:
      return {2, 256, 256, false, 0};
  }
  return {};
}

// What codes are worth where they are places in a table: the sixteen values of IQ4, twice those of E2M1, or -1, 0 and 1.
// Empty for types whose codes are numbers.
[[nodiscard]] std::span<const float> levels_of(BlockType type);

// Has AutoRound a search of its own for it (docs/spec/gguf-rounding.md 4)?
[[nodiscard]] constexpr bool has_auto_round_search(BlockType type) noexcept {
  return type <= BlockType::q6_k && type != BlockType::iq4_nl;
}

// In lower case: "q4_0", "q4_k", "iq4_nl" ... are what TensorQuant::data_type has for them.
[[nodiscard]] std::span<const std::string_view> block_type_names();
[[nodiscard]] std::string_view name_of(BlockType type);
[[nodiscard]] std::optional<BlockType> find_block_type(std::string_view data_type);

// The one TensorQuant a type has.
[[nodiscard]] TensorQuant quant_of(BlockType type);
// The type of so many bits that stands in for the one `quant` has: that one itself, else in super-blocks or without as it
// is, where there are both. It searches as `quant` does if it can. Null = there is none.
[[nodiscard]] std::optional<TensorQuant> quant_of_bits(const TensorQuant& quant, int bits);

}  // namespace arkit::sdk
