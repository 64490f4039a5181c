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

Wide joined(const uint64_t (&halves)[2]) {
  return wide(halves[1], halves[0]);
}

void store(Wide value, uint64_t (&halves)[2]) {
  halves[0] = static_cast<uint64_t>(value);
  halves[1] = static_cast<uint64_t>(value >> 64);
}

}  // namespace

// PCG XSL RR 128/64.
NumpyRandom::NumpyRandom(uint64_t seed) {
  const auto words = seed_words(seed);
  store(wide(words[2], words[3]) << 1 | 1, increment_);
  store(0, state_);
  step();
  store(joined(state_) + wide(words[0], words[1]), state_);
  step();
}

void NumpyRandom::step() {
  store(joined(state_) * wide(2549297995355413924ULL, 4865540595714422341ULL) + joined(increment_), state_);
}

// Each 64-bit output serves two calls, the low half first.
uint32_t NumpyRandom::next32() {
  if (std::exchange(has_half_, !has_half_)) return half_;
  step();
  const uint64_t value = std::rotr(state_[1] ^ state_[0], static_cast<int>(state_[1] >> 58));
  half_ = static_cast<uint32_t>(value >> 32);
  return static_cast<uint32_t>(value);
}

// Uniform in [0, max]: draws masked to the bits of max until one fits.
uint32_t NumpyRandom::up_to(uint32_t max) {
  if (max == 0) return 0;
  const uint32_t mask = ~uint32_t{0} >> std::countl_zero(max);
  uint32_t value = next32() & mask;
  while (value > max) value = next32() & mask;
  return value;
}

std::vector<int64_t> NumpyRandom::permutation(int64_t n) {
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), int64_t{0});
  for (size_t i = order.size(); i-- > 1;) std::swap(order[i], order[up_to(static_cast<uint32_t>(i))]);
  return order;
}

std::vector<int64_t> numpy_permutation(uint64_t seed, int64_t n) {
  return NumpyRandom(seed).permutation(n);
}

}  // namespace arkit
