#pragma once
// A layer's weight in the order in which the kernels read it (kernels/kernels.h), made from any packing's codes.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "kernels/kernels.h"

namespace arkit::ark {

// How the k of a row of W are cut: groups (one scale each) into blocks (one activation scale each), the last block of a
// group filled up with k that count nothing.
struct Blocks {
  int64_t in_features = 0;
  int64_t group = 0;  // k of a group, as in the file; the last may be shorter
  int64_t groups = 0;
  int64_t blocks_a_group = 0;
  int32_t block = 0;

  // Blocks as long as can be, at most kMaxBlock, with the least filling up.
  static Blocks of(int64_t in_features, int64_t group_size, int bits);

  [[nodiscard]] int64_t blocks() const noexcept { return groups * blocks_a_group; }
  [[nodiscard]] int64_t depth() const noexcept { return blocks() * block; }
  [[nodiscard]] bool is_plain() const noexcept { return depth() == in_features; }
  bool operator==(const Blocks&) const = default;

  // A row of `in_features` to one of depth(), zeros where groups are filled up.
  template <typename T>
  void spread(const T* row, T* to) const {
    const int64_t filled = blocks_a_group * block;
    for (int64_t k = 0; k < in_features; k += group, row += group, to += filled) {
      const int64_t count = std::min(group, in_features - k);
      std::copy_n(row, count, to);
      std::fill(to + count, to + filled, T{});
    }
  }
};

// What a layer is made of, all [out, ...] row by row.
struct Codes {
  int64_t out_features = 0, in_features = 0, group_size = 0;
  int bits = 8;
  CodeKind kind = CodeKind::integer;
  std::span<const uint8_t> codes;  // [out, in], below 2^bits
  std::span<const float> scales;   // [out, groups]
  std::span<const float> zeros;    // [out, groups], whole numbers from 0 to 255; empty = `zero` everywhere
  int zero = 0;
  std::span<const float> offsets;  // [out, groups]: added to scale * (code - zero); empty = none
  std::span<const uint8_t> table;  // of 16 entries; empty = none
  float factor = 1;                // of every sum
};

class PackedWeight {
 public:
  // Throws BackendError for codes and zero points that do not fit.
  PackedWeight(const Codes& codes, std::string_view name);
  // What bytes() gave; throws BackendError where it cannot be. With `keeper`, which keeps them, the bytes stay where they
  // are, aligned to 64; else they are copied.
  explicit PackedWeight(std::span<const std::byte> bytes, std::shared_ptr<const void> keeper = {});

  [[nodiscard]] int64_t out_features() const noexcept { return header().out_features; }
  [[nodiscard]] int64_t panels() const noexcept { return (out_features() + kPanel - 1) / kPanel; }
  [[nodiscard]] float factor() const noexcept { return header().factor; }
  [[nodiscard]] const Blocks& blocks() const noexcept { return blocks_; }
  [[nodiscard]] const Weight& view() const noexcept { return view_; }
  // All of it, in one piece.
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {memory_.get(), size_}; }

 private:
  struct Header {
    int64_t out_features, in_features, group_size;
    int32_t bits, zero, scale_type, has_zeros, has_offsets, has_table;
    float factor;
    int32_t kind;  // CodeKind
    uint8_t table[16];
  };
  [[nodiscard]] const Header& header() const noexcept { return *reinterpret_cast<const Header*>(memory_.get()); }
  size_t lay_out(const Header& header);  // where everything lies; gives the size of all
  std::byte* allocate(const Header& header);
  void look();
  void put_groups(std::byte* memory, const Codes& codes, std::string_view name) const;
  void put_codes(std::byte* memory, const Codes& codes, std::string_view name) const;

  std::shared_ptr<const std::byte> memory_;
  size_t size_ = 0;
  size_t scales_at_ = 0, zeros_at_ = 0, offsets_at_ = 0, codes_at_ = 0;
  Blocks blocks_;
  Weight view_{};
};

}  // namespace arkit::ark
