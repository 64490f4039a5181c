#pragma once
// SHA-256 (FIPS 180-4) for the hashes in arkit-run.json. Own code rather than libcrypto: a hundred lines against a
// dependency of every package that links arkit.

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>

#include <arkit/export.h>

namespace arkit {

class ARKIT_EXPORT Sha256 {
 public:
  void update(std::span<const std::byte> bytes);
  void update(std::string_view text) { update(std::as_bytes(std::span(text.data(), text.size()))); }
  // The hash of everything given, as 64 lower-case hexadecimal digits. Nothing may be added afterwards.
  [[nodiscard]] std::string hex();

 private:
  void compress(const std::byte* blocks, size_t count);

  std::array<uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<std::byte, 64> pending_{};
  uint64_t length_ = 0;  // bytes given
};

[[nodiscard]] ARKIT_EXPORT std::string sha256_hex(std::string_view text);

// Hash of a file, read in pieces; empty when `stop` was asked for meanwhile. Throws ErrorCode::input when the file
// cannot be read.
[[nodiscard]] ARKIT_EXPORT std::string sha256_file(const std::filesystem::path& path, const std::stop_token& stop = {});

}  // namespace arkit
