#include "hub/content_hash.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include <arkit/str.h>

namespace arkit::hub {
namespace {

uint32_t big_endian(const std::byte* at) {
  uint32_t word = 0;
  for (int i = 0; i < 4; ++i) word = word << 8 | std::to_integer<uint32_t>(at[i]);
  return word;
}

struct Round {
  uint32_t mixed, constant;
};

Round round_of(int step, uint32_t b, uint32_t c, uint32_t d) {
  if (step < 20) return {(b & c) | (~b & d), 0x5a827999};
  if (step < 40) return {b ^ c ^ d, 0x6ed9eba1};
  if (step < 60) return {(b & c) | (b & d) | (c & d), 0x8f1bbcdc};
  return {b ^ c ^ d, 0xca62c1d6};
}

}  // namespace

void Sha1::compress(const std::byte* block) {
  std::array<uint32_t, 80> words{};
  for (size_t i = 0; i < 16; ++i) words[i] = big_endian(block + 4 * i);
  for (size_t i = 16; i < 80; ++i) words[i] = std::rotl(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1);
  auto [a, b, c, d, e] = state_;
  for (int step = 0; step < 80; ++step) {
    const Round round = round_of(step, b, c, d);
    const uint32_t next = std::rotl(a, 5) + round.mixed + e + round.constant + words[static_cast<size_t>(step)];
    e = d;
    d = c;
    c = std::rotl(b, 30);
    b = a;
    a = next;
  }
  const std::array<uint32_t, 5> added{a, b, c, d, e};
  for (size_t i = 0; i < 5; ++i) state_[i] += added[i];
}

void Sha1::update(std::span<const std::byte> bytes) {
  size_t held = length_ % pending_.size();
  length_ += bytes.size();
  while (!bytes.empty()) {
    if (held == 0 && bytes.size() >= pending_.size()) {
      compress(bytes.data());
      bytes = bytes.subspan(pending_.size());
      continue;
    }
    const size_t count = std::min(bytes.size(), pending_.size() - held);
    std::memcpy(pending_.data() + held, bytes.data(), count);
    bytes = bytes.subspan(count);
    held += count;
    if (held < pending_.size()) return;
    compress(pending_.data());
    held = 0;
  }
}

std::string Sha1::hex() {
  const uint64_t bits = length_ * 8;
  std::array<std::byte, 72> tail{};
  tail[0] = std::byte{0x80};
  const size_t zeros = (119 - length_ % 64) % 64;
  std::array<std::byte, 8> count{};
  for (size_t i = 0; i < 8; ++i) count[i] = static_cast<std::byte>(bits >> (56 - 8 * i));
  update(std::span<const std::byte>(tail.data(), zeros + 1));
  update(std::span<const std::byte>(count));
  std::string text;
  for (const uint32_t word : state_)
    for (int shift = 28; shift >= 0; shift -= 4) text += "0123456789abcdef"[word >> shift & 15];
  return text;
}

ContentHash::ContentHash(const RemoteFile& file) : file_(file) {
  if (!file.sha256.empty()) {
    hash_.emplace<Sha256>();
  } else if (!file.blob.empty()) {
    hash_.emplace<Sha1>().update(str("blob ", file.size, std::string_view("\0", 1)));
  }
}

void ContentHash::update(std::string_view bytes) {
  if (auto* sha256 = std::get_if<Sha256>(&hash_)) sha256->update(bytes);
  if (auto* sha1 = std::get_if<Sha1>(&hash_)) sha1->update(bytes);
}

bool ContentHash::agrees() {
  if (auto* sha256 = std::get_if<Sha256>(&hash_)) return sha256->hex() == file_.sha256;
  if (auto* sha1 = std::get_if<Sha1>(&hash_)) return sha1->hex() == file_.blob;
  return true;
}

}  // namespace arkit::hub
