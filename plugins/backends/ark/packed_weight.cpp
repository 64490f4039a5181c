#include "packed_weight.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>
#include <vector>

#include <arkit/sdk/backend.h>
#include <arkit/sdk/float16.h>

namespace arkit::ark {
namespace {

constexpr size_t kAlign = 64;
constexpr int64_t kMostFeatures = int64_t{1} << 24;  // so that no size overflows

size_t aligned(size_t at) {
  return (at + kAlign - 1) / kAlign * kAlign;
}

int64_t divided_up(int64_t what, int64_t by) {
  return (what + by - 1) / by;
}

[[noreturn]] void bad(std::string_view name, const std::string& what) {
  throw sdk::BackendError(ARKIT_BAD_INPUT, "layer '" + std::string(name) + "': " + what);
}

size_t bytes_of_block(const Blocks& blocks, int bits) {
  return static_cast<size_t>(blocks.block / step_of(bits) * kStrips * lines_of(bits) * kLine);
}

// The narrowest type that holds every scale exactly.
ScaleType type_for(std::span<const float> scales) {
  const auto all = [&](auto is) { return std::all_of(scales.begin(), scales.end(), is); };
  if (all([](float scale) { return sdk::round_to_float16(scale) == scale; })) return ScaleType::float16;
  if (all([](float scale) { return sdk::round_to_bfloat16(scale) == scale; })) return ScaleType::bfloat16;
  return ScaleType::float32;
}

// Codes of k 0..step-1 of one row into the lines of its strip, four at a time; `line` points to the row's bytes in the
// first line. Bits are masked before they are shifted, so that none gets into a neighbour.
template <int Bits>
void put_step(uint8_t* line, const uint8_t* codes) {
  constexpr int kStep = step_of(Bits);
  const auto four = [&](int j, int shift, uint32_t mask) {
    uint32_t word = 0;
    std::memcpy(&word, codes + 4 * j, sizeof(word));
    return word >> shift & mask * 0x01010101U;
  };
  const auto put = [&](int which, uint32_t word) { std::memcpy(line + which * kLine, &word, sizeof(word)); };
  if constexpr (Bits == 8) {
    put(0, four(0, 0, 255));
  } else {
    constexpr int kLines4 = (Bits & 4) != 0 ? kStep / 8 : 0, kLines2 = (Bits & 2) != 0 ? kStep / 16 : 0;
    constexpr int kShift2 = kLines4 != 0 ? 4 : 0, kShift1 = kShift2 + (kLines2 != 0 ? 2 : 0);
    for (int t = 0; t < kLines4; ++t) put(t, four(2 * t, 0, 15) | four(2 * t + 1, 0, 15) << 4);
    for (int t = 0; t < kLines2; ++t) {
      uint32_t word = 0;
      for (int j = 0; j < 4; ++j) word |= four(4 * t + j, kShift2, 3) << (2 * j);
      put(kLines4 + t, word);
    }
    if constexpr ((Bits & 1) != 0) {
      uint32_t word = 0;
      for (int j = 0; j < 8; ++j) word |= four(j, kShift1, 1) << j;
      put(kLines4 + kLines2, word);
    }
  }
}

template <int Bits>
void put_row(uint8_t* line, std::span<const uint8_t> row) {
  constexpr size_t kStep = step_of(Bits);
  for (size_t k = 0; k < row.size(); k += kStep, line += kStrips * lines_of(Bits) * kLine)
    put_step<Bits>(line, row.data() + k);
}

void put_row(int bits, uint8_t* line, std::span<const uint8_t> row) {
  switch (bits) {
    case 2:
      return put_row<2>(line, row);
    case 3:
      return put_row<3>(line, row);
    case 4:
      return put_row<4>(line, row);
    case 5:
      return put_row<5>(line, row);
    case 6:
      return put_row<6>(line, row);
    case 7:
      return put_row<7>(line, row);
    default:
      return put_row<8>(line, row);
  }
}

}  // namespace

Blocks Blocks::of(int64_t in_features, int64_t group_size, int bits) {
  Blocks blocks;
  blocks.in_features = in_features;
  blocks.group = group_size > 0 ? std::min(group_size, in_features) : in_features;
  blocks.groups = divided_up(in_features, blocks.group);
  const int64_t step = step_of(bits);
  const int64_t shortest = std::min<int64_t>(32, divided_up(blocks.group, step) * step);
  int64_t least = 0;
  for (int64_t block = kMaxBlock; block >= shortest; block -= step) {
    const int64_t filled = divided_up(blocks.group, block) * block;
    if (least != 0 && filled >= least) continue;
    least = filled;
    blocks.block = static_cast<int32_t>(block);
  }
  blocks.blocks_a_group = least / blocks.block;
  return blocks;
}

PackedWeight::PackedWeight(const Codes& codes, std::string_view name) {
  Header header{.out_features = codes.out_features,
                .in_features = codes.in_features,
                .group_size = codes.group_size,
                .bits = codes.bits,
                .zero = codes.zero,
                .scale_type = static_cast<int32_t>(type_for(codes.scales)),
                .has_zeros = codes.zeros.empty() ? 0 : 1,
                .has_offsets = codes.offsets.empty() ? 0 : 1,
                .has_table = codes.table.empty() ? 0 : 1,
                .factor = codes.factor,
                .kind = static_cast<int32_t>(codes.kind),
                .table = {}};
  std::copy(codes.table.begin(), codes.table.end(), header.table);
  std::byte* memory = allocate(header);
  look();
  put_groups(memory, codes, name);
  put_codes(memory, codes, name);
}

PackedWeight::PackedWeight(std::span<const std::byte> bytes, std::shared_ptr<const void> keeper) {
  Header header;
  if (bytes.size() < sizeof(header)) throw sdk::BackendError(ARKIT_BAD_INPUT, "a kept weight is too short");
  std::memcpy(&header, bytes.data(), sizeof(header));
  const bool good = header.out_features > 0 && header.out_features < kMostFeatures && header.in_features > 0 &&
                    header.in_features < kMostFeatures && header.bits >= 2 && header.bits <= 8 &&
                    header.scale_type >= 0 && header.zero >= 0 && header.zero <= 255 &&
                    header.scale_type <= static_cast<int32_t>(ScaleType::float32) && header.kind >= 0 &&
                    header.kind <= static_cast<int32_t>(CodeKind::e5m2) && (header.kind == 0 || header.bits == 8);
  if (!good || lay_out(header) != bytes.size())
    throw sdk::BackendError(ARKIT_BAD_INPUT, "a kept weight contradicts its own description");
  if (keeper != nullptr) {
    size_ = bytes.size();
    memory_ = std::shared_ptr<const std::byte>(std::move(keeper), bytes.data());
  } else {
    std::memcpy(allocate(header), bytes.data(), bytes.size());
  }
  look();
}

size_t PackedWeight::lay_out(const Header& header) {
  blocks_ = Blocks::of(header.in_features, header.group_size, header.bits);
  const auto panels = static_cast<size_t>(divided_up(header.out_features, kPanel));
  const size_t of_groups = panels * static_cast<size_t>(blocks_.groups) * kPanel;
  const bool wide = header.scale_type == static_cast<int32_t>(ScaleType::float32);
  scales_at_ = aligned(sizeof(Header));
  zeros_at_ = aligned(scales_at_ + of_groups * (wide ? 4 : 2));
  offsets_at_ = aligned(zeros_at_ + (header.has_zeros != 0 ? of_groups : 0));
  codes_at_ = aligned(offsets_at_ + (header.has_offsets != 0 ? of_groups * sizeof(float) : 0));
  return codes_at_ + panels * static_cast<size_t>(blocks_.blocks()) * bytes_of_block(blocks_, header.bits);
}

std::byte* PackedWeight::allocate(const Header& header) {
  size_ = lay_out(header);
  auto* memory = static_cast<std::byte*>(std::aligned_alloc(kAlign, aligned(size_)));
  if (memory == nullptr) throw std::bad_alloc();
  memory_ =
      std::shared_ptr<const std::byte>(memory, [](const std::byte* own) { std::free(const_cast<std::byte*>(own)); });
  std::memset(memory, 0, size_);  // rows and k that fill up count nothing
  std::memcpy(memory, &header, sizeof(header));
  return memory;
}

void PackedWeight::look() {
  const Header& kept = header();
  const std::byte* memory = memory_.get();
  view_ = {.codes = reinterpret_cast<const uint8_t*>(memory + codes_at_),
           .scales = memory + scales_at_,
           .zeros = kept.has_zeros != 0 ? reinterpret_cast<const uint8_t*>(memory + zeros_at_) : nullptr,
           .offsets = kept.has_offsets != 0 ? reinterpret_cast<const float*>(memory + offsets_at_) : nullptr,
           .table = kept.has_table != 0 ? kept.table : nullptr,
           .scale_type = static_cast<ScaleType>(kept.scale_type),
           .kind = static_cast<CodeKind>(kept.kind),
           .bits = kept.bits,
           .zero = kept.zero,
           .block = blocks_.block,
           .blocks_a_group = blocks_.blocks_a_group,
           .groups = blocks_.groups};
}

// What belongs to a group, from [out, groups] to [panel][group][row].
void PackedWeight::put_groups(std::byte* memory, const Codes& codes, std::string_view name) const {
  const auto groups = static_cast<size_t>(blocks_.groups);
  for (size_t n = 0; n < static_cast<size_t>(codes.out_features); ++n) {
    for (size_t g = 0; g < groups; ++g) {
      const size_t from = n * groups + g, to = (n / kPanel * groups + g) * kPanel + n % kPanel;
      const float scale = codes.scales[from];
      if (view_.scale_type == ScaleType::float32)
        std::memcpy(memory + scales_at_ + to * 4, &scale, 4);
      else {
        const uint16_t half =
            view_.scale_type == ScaleType::float16 ? sdk::float_to_float16(scale) : sdk::float_to_bfloat16(scale);
        std::memcpy(memory + scales_at_ + to * 2, &half, 2);
      }
      if (!codes.zeros.empty()) {
        const float zero = codes.zeros[from];
        if (!(zero >= 0 && zero <= 255 && zero == std::floor(zero)))
          bad(name, "zero point " + std::to_string(zero) + " of row " + std::to_string(n) +
                        " is no whole number from 0 to 255");
        memory[zeros_at_ + to] = static_cast<std::byte>(zero);
      }
      if (!codes.offsets.empty()) std::memcpy(memory + offsets_at_ + to * 4, &codes.offsets[from], 4);
    }
  }
}

void PackedWeight::put_codes(std::byte* memory, const Codes& codes, std::string_view name) const {
  const auto width = static_cast<size_t>(codes.in_features);
  const size_t block_bytes = bytes_of_block(blocks_, codes.bits);
  const int limit = (1 << codes.bits) - 1;
  std::vector<uint8_t> row(static_cast<size_t>(blocks_.depth()));
  for (size_t n = 0; n < static_cast<size_t>(codes.out_features); ++n) {
    const std::span<const uint8_t> from = codes.codes.subspan(n * width, width);
    uint8_t most = 0;
    for (const uint8_t code : from) most = std::max(most, code);
    if (most > limit)
      bad(name, "code " + std::to_string(most) + " of row " + std::to_string(n) + " does not fit " +
                    std::to_string(codes.bits) + " bits");
    if (codes.kind != CodeKind::integer) {
      const int least = codes.kind == CodeKind::e4m3 ? 0x7F : 0x7C;  // that is no finite number
      for (const uint8_t code : from)
        if ((code & 0x7F) >= least) bad(name, "row " + std::to_string(n) + " has a weight that is no finite number");
    }
    blocks_.spread(from.data(), row.data());
    auto* panel = reinterpret_cast<uint8_t*>(memory + codes_at_) +
                  n / kPanel * static_cast<size_t>(blocks_.blocks()) * block_bytes;
    uint8_t* line = panel + n % kPanel / 16 * static_cast<size_t>(lines_of(codes.bits)) * kLine + n % 16 * 4;
    put_row(codes.bits, line, row);
  }
}

}  // namespace arkit::ark
