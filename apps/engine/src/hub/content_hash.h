#pragma once
// The hash by which a hub names the content of a file.

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include <arkit/export.h>

#include "hub/listing.h"
#include "util/sha256.h"

namespace arkit::hub {

// SHA-1 (FIPS 180-4), which is what Git calls its objects by. It finds damage, not malice: files that matter, all large
// ones, have a SHA-256.
class Sha1 {
 public:
  void update(std::span<const std::byte> bytes);
  void update(std::string_view text) { update(std::as_bytes(std::span(text.data(), text.size()))); }
  // 40 lower-case hexadecimal digits. Nothing may be added afterwards.
  [[nodiscard]] std::string hex();

 private:
  void compress(const std::byte* block);

  std::array<uint32_t, 5> state_{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
  std::array<std::byte, 64> pending_{};
  uint64_t length_ = 0;  // bytes given
};

// Of the content of one listed file, in order.
class ContentHash {
 public:
  explicit ContentHash(const RemoteFile& file);
  void update(std::string_view bytes);
  // Whether it is the one listed; of a file listed without a hash, true.
  [[nodiscard]] bool agrees();

 private:
  const RemoteFile& file_;
  std::variant<std::monostate, Sha256, Sha1> hash_;
};

}  // namespace arkit::hub
