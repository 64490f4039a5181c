#include "util/python_random.h"

#include <array>
#include <bit>
#include <sstream>

namespace arkit {
namespace {

constexpr size_t kStateSize = 624;

// MT19937 state after init_by_array(key): Matsumoto and Nishimura's reference initialisation.
std::array<uint32_t, kStateSize> init_by_array(const std::vector<uint32_t>& key) {
  std::array<uint32_t, kStateSize> mt{};
  mt[0] = 19650218U;
  for (uint32_t i = 1; i < kStateSize; ++i) mt[i] = 1812433253U * (mt[i - 1] ^ (mt[i - 1] >> 30)) + i;
  size_t i = 1, j = 0;
  const auto wrap = [&] {
    if (++i >= kStateSize) {
      mt[0] = mt[kStateSize - 1];
      i = 1;
    }
  };
  for (size_t k = std::max(kStateSize, key.size()); k > 0; --k) {
    mt[i] = (mt[i] ^ ((mt[i - 1] ^ (mt[i - 1] >> 30)) * 1664525U)) + key[j] + static_cast<uint32_t>(j);
    wrap();
    if (++j >= key.size()) j = 0;
  }
  for (size_t k = kStateSize - 1; k > 0; --k) {
    mt[i] = (mt[i] ^ ((mt[i - 1] ^ (mt[i - 1] >> 30)) * 1566083941U)) - static_cast<uint32_t>(i);
    wrap();
  }
  mt[0] = 0x80000000U;
  return mt;
}

}  // namespace

PythonRandom::PythonRandom(uint64_t seed) {
  std::vector<uint32_t> key{static_cast<uint32_t>(seed)};
  if (seed >> 32 != 0) key.push_back(static_cast<uint32_t>(seed >> 32));
  // std::mt19937 takes a whole state only through its stream operator: 624 words, then (libstdc++) the position.
  std::stringstream state;
  for (const uint32_t word : init_by_array(key)) state << word << ' ';
  state << kStateSize;
  state >> engine_;
}

uint64_t PythonRandom::randbelow(uint64_t n) {
  const int bits = static_cast<int>(std::bit_width(n));
  while (true) {
    uint64_t r = 0;
    if (bits <= 32) {
      r = next32() >> (32 - bits);
    } else {
      r = next32();
      r |= static_cast<uint64_t>(next32() >> (64 - bits)) << 32;
    }
    if (r < n) return r;
  }
}

}  // namespace arkit
