#include "util/numpy_random.h"

#include <array>
#include <bit>
#include <cstddef>
#include <numeric>
#include <utility>

namespace arkit {
namespace {

__extension__ using Wide = unsigned __int128;

constexpr Wide wide(uint64_t high, uint64_t low) {
  return Wide{high} << 64 | low;
}

// numpy's SeedSequence: the seed's 32-bit words are hashed into a pool of four, from which state words are hashed out.
std::array<uint64_t, 4> seed_words(uint64_t seed) {
  constexpr uint32_t kInitA = 0x43b0d7e5, kMultA = 0x931e8875, kInitB = 0x8b51f9dd, kMultB = 0x58f38ded;
  constexpr uint32_t kMixLeft = 0xca01f9dd, kMixRight = 0x4973f715;
  uint32_t hash_constant = kInitA;
  const auto hash = [&](uint32_t value) {
    value ^= hash_constant;
    hash_constant *= kMultA;
    value *= hash_constant;
    return value ^ value >> 16;
  };
  const auto mix = [](uint32_t x, uint32_t y) {
    const uint32_t result = kMixLeft * x - kMixRight * y;
    return result ^ result >> 16;
  };
  std::array<uint32_t, 4> pool{};
  pool[0] = hash(static_cast<uint32_t>(seed));
  pool[1] = hash(static_cast<uint32_t>(seed >> 32));
  pool[2] = hash(0);
  pool[3] = hash(0);
  for (size_t source = 0; source < 4; ++source)
    for (size_t target = 0; target < 4; ++target)
      if (source != target) pool[target] = mix(pool[target], hash(pool[source]));
  uint32_t out_constant = kInitB;
  std::array<uint64_t, 4> words{};
  for (size_t i = 0; i < 8; ++i) {
    uint32_t value = pool[i % 4] ^ out_constant;
    out_constant *= kMultB;
    value *= out_constant;
    value ^= value >> 16;
    words[i / 2] |= uint64_t{value} << (i % 2 * 32);
  }
  return words;
}

// PCG XSL RR 128/64.
class Pcg64 {
 public:
  explicit Pcg64(uint64_t seed) {
    const auto words = seed_words(seed);
    increment_ = wide(words[2], words[3]) << 1 | 1;
    step();
    state_ += wide(words[0], words[1]);
    step();
  }
  // Each 64-bit output serves two calls, the low half first.
  uint32_t next32() {
    if (std::exchange(has_half_, !has_half_)) return half_;
    step();
    const uint64_t folded = static_cast<uint64_t>(state_ >> 64) ^ static_cast<uint64_t>(state_);
    const uint64_t value = std::rotr(folded, static_cast<int>(state_ >> 122));
    half_ = static_cast<uint32_t>(value >> 32);
    return static_cast<uint32_t>(value);
  }
  // Uniform in [0, max]: draws masked to the bits of max until one fits.
  uint32_t up_to(uint32_t max) {
    if (max == 0) return 0;
    const uint32_t mask = ~uint32_t{0} >> std::countl_zero(max);
    uint32_t value = next32() & mask;
    while (value > max) value = next32() & mask;
    return value;
  }

 private:
  void step() { state_ = state_ * wide(2549297995355413924ULL, 4865540595714422341ULL) + increment_; }

  Wide state_ = 0, increment_ = 0;
  uint32_t half_ = 0;
  bool has_half_ = false;
};

}  // namespace

std::vector<int64_t> numpy_permutation(uint64_t seed, int64_t n) {
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), int64_t{0});
  Pcg64 random(seed);
  for (size_t i = order.size(); i-- > 1;) std::swap(order[i], order[random.up_to(static_cast<uint32_t>(i))]);
  return order;
}

}  // namespace arkit
