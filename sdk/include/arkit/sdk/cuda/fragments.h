#pragma once
// Weights in the order in which tensor cores take them (docs/spec/gpu-layouts.md 1): tiles of 16 inputs times 64 outputs,
// each a plane of bytes, nibbles, pairs or single bits a lane. Four and eight bits are the layout of Marlin. Used by
// kernels to decode and by the CPU to pack; the two must stay one page.

#include <cstdint>

#include <arkit/sdk/cuda/device.h>

namespace arkit::cuda {

inline constexpr int kTileK = 16, kTileN = 64;

// A code of `bits` bits is cut, lowest bits first, into planes of 8, 4, 2 and 1 bits.
ARKIT_BOTH constexpr bool has_plane(int bits, int plane) {
  return (bits & plane) != 0;
}
// First word of a plane in a tile, which has 32 * bits words.
ARKIT_BOTH constexpr int plane_start(int bits, int plane) {
  int start = 0;
  for (int wider = 8; wider > plane; wider /= 2)
    if (has_plane(bits, wider)) start += 32 * wider;
  return start;
}
ARKIT_BOTH constexpr int plane_shift(int bits, int plane) {
  return plane_start(bits, plane) / 32;
}

// Where a code's part lies: the word of its tile, and the bit within.
struct Spot {
  int word, bit;
};

// Of row k (0..15) and column n (0..63) of a tile. Lane 4g + t has rows 2t, 2t+1, 2t+8, 2t+9 of the columns 8b + g: eight
// pairs of rows for b, two halves of 16 bits a pair, as `pair % 2` counts them.
ARKIT_BOTH constexpr Spot spot_of(int bits, int plane, int k, int n) {
  const int lane = 4 * (n % 8) + k % 8 / 2, block = n / 8, half = k / 8, odd = k % 2;
  const int start = plane_start(bits, plane);
  if (plane == 8) return {start + 8 * lane + block, 8 * half + 16 * odd};
  if (plane == 4) return {start + 4 * lane + block / 2, 4 * (2 * (block % 2) + half) + 16 * odd};
  if (plane == 2) return {start + 2 * lane + block / 4, 2 * (2 * (block % 4) + half) + 16 * odd};
  return {start + lane, 2 * block + half + 16 * odd};
}

// Where the factor of a column lies among those of its 64 columns: next to those of its lane's other accumulators.
ARKIT_BOTH constexpr int factor_spot(int column) {
  const int within = column % 32;
  return column / 32 * 32 + 8 * (within % 8 / 2) + 2 * (within / 8) + within % 2;
}

enum class Numbers : int32_t { integers, e2m1, e4m3, e5m2 };

// A lane's words of one tile, decoded pair by pair: rows 2t + 8 * half and one more, of column 8b + g.
// `Zeros`: may integers have zero points besides their middle?
template <int Bits, Numbers Kind, bool Zeros>
struct Fragments {
  static constexpr int kBits = Bits;
  static constexpr bool kZeros = Zeros;
  uint32_t eights[has_plane(Bits, 8) ? 8 : 1], fours[4], twos[2], ones;

  // From the tile in shared memory, or from wherever `read` reads words.
  template <typename Read>
  ARKIT_DEVICE void take(const uint32_t* tile, int lane, Read&& read) {
    if constexpr (has_plane(Bits, 8)) {
      ARKIT_EACH (half, 2) {
        const Words4 four = read(reinterpret_cast<const Words4*>(tile + 8 * lane + 4 * half));
        ARKIT_EACH (i, 4) eights[4 * half + i] = four.word[i];
      }
    }
    if constexpr (has_plane(Bits, 4)) {
      const Words4 four = read(reinterpret_cast<const Words4*>(tile + plane_start(Bits, 4) + 4 * lane));
      ARKIT_EACH (i, 4) fours[i] = four.word[i];
    }
    if constexpr (has_plane(Bits, 2)) {
      const Words2 two = read(reinterpret_cast<const Words2*>(tile + plane_start(Bits, 2) + 2 * lane));
      twos[0] = two.word[0];
      twos[1] = two.word[1];
    }
    if constexpr (has_plane(Bits, 1)) ones = read(tile + plane_start(Bits, 1) + lane);
  }

  // Two codes, each in 16 bits.
  ARKIT_DEVICE uint32_t codes(int block, int half) const {
    if constexpr (Bits == 8) return (eights[block] >> (8 * half)) & 0x00FF00FFU;
    uint32_t pair = 0;
    if constexpr (has_plane(Bits, 4)) pair |= (fours[block / 2] >> (4 * (2 * (block % 2) + half))) & 0x000F000FU;
    if constexpr (has_plane(Bits, 2))
      pair |= ((twos[block / 4] >> (2 * (2 * (block % 4) + half))) & 0x00030003U) << plane_shift(Bits, 2);
    if constexpr (has_plane(Bits, 1)) pair |= ((ones >> (2 * block + half)) & 0x00010001U) << plane_shift(Bits, 1);
    return pair;
  }

  // Their exact values in a 16-bit float; of integers, with the middle 2^(bits-1) subtracted.
  template <typename Float>
  ARKIT_DEVICE uint32_t values(int block, int half) const {
    if constexpr (Kind == Numbers::integers) return integers<Float>(block, half);
    // Exponent and mantissa are moved to where the 16-bit float has them; the product mends the bias, and subnormal
    // numbers come out right.
    const uint32_t pair = codes(block, half);
    if constexpr (Kind == Numbers::e2m1)
      return Float::kHalf ? Float::fma((pair & 0x00070007U) << 9 | (pair & 0x00080008U) << 12, 0x74007400U, 0U)
                          : Float::fma((pair & 0x00070007U) << 6 | (pair & 0x00080008U) << 12, 0x7E807E80U, 0U);
    if constexpr (Kind == Numbers::e4m3)
      return Float::kHalf ? Float::fma((pair & 0x007F007FU) << 7 | (pair & 0x00800080U) << 8, 0x5C005C00U, 0U)
                          : Float::fma((pair & 0x007F007FU) << 4 | (pair & 0x00800080U) << 8, 0x7B807B80U, 0U);
    return Float::kHalf ? pair << 8
                        : Float::fma((pair & 0x007F007FU) << 5 | (pair & 0x00800080U) << 8, 0x77807780U, 0U);
  }

 private:
  // 1024 + code is a float16 whose lowest bits are the code, 128 + code (of 7 bits) such a bfloat16.
  template <typename Float>
  ARKIT_DEVICE uint32_t integers(int block, int half) const {
    constexpr uint32_t kMiddle = 1U << (Bits - 1);
    if constexpr (Float::kHalf && Bits == 4) {
      // The upper nibble of a byte is 16 times its code: no shift.
      const uint32_t word = fours[block / 2] >> (8 * (block % 2));
      if (half == 0) return Float::subtract((word & 0x000F000FU) | 0x64006400U, 0x64086408U);
      return Float::fma((word & 0x00F000F0U) | 0x64006400U, 0x2C002C00U, 0xD480D480U);  // / 16 - 72
    }
    const uint32_t pair = codes(block, half);
    if constexpr (Float::kHalf)
      return Float::subtract(pair | 0x64006400U, (0x6400U + kMiddle) * 0x00010001U);
    else if constexpr (Bits < 8)
      return Float::subtract(pair | 0x43004300U, (0x4300U + kMiddle) * 0x00010001U);
    else  // seven bits, and 128 less where the eighth is not set: 128 + low - (128 or 256)
      return Float::subtract((pair & 0x007F007FU) | 0x43004300U, (~pair & 0x00800080U) | 0x43004300U);
  }
};

}  // namespace arkit::cuda
