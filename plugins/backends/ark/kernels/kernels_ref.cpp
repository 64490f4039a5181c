// What every other set must equal, bit for bit, said as plainly as it can be.
#include <cmath>
#include <cstring>

#include <arkit/sdk/float16.h>

#include "kernels.h"

namespace arkit::ark {
namespace {

float scale_at(const Weight& weight, int64_t at) {
  if (weight.scale_type == ScaleType::float32) return static_cast<const float*>(weight.scales)[at];
  const uint16_t half = static_cast<const uint16_t*>(weight.scales)[at];
  return weight.scale_type == ScaleType::float16 ? sdk::float16_to_float(half) : sdk::bfloat16_to_float(half);
}

// The code of row `n` of a panel at `k` of a block.
int code_at(const Weight& weight, const uint8_t* block, int n, int k) {
  const int bits = weight.bits, step = step_of(bits), strip = n / 16, lane = (n % 16) * 4;
  const uint8_t* line = block + (static_cast<ptrdiff_t>(k / step) * kStrips + strip) * lines_of(bits) * kLine;
  const int within = k % step, j = within / 4, byte = lane + within % 4;
  if (bits == 8) return line[byte];
  int code = 0, shift = 0;
  if ((bits & 4) != 0) {
    code = (line[(j / 2) * kLine + byte] >> (j % 2 * 4)) & 15;
    line += static_cast<ptrdiff_t>(step / 8) * kLine;
    shift = 4;
  }
  if ((bits & 2) != 0) {
    code |= ((line[(j / 4) * kLine + byte] >> (j % 4 * 2)) & 3) << shift;
    line += static_cast<ptrdiff_t>(step / 16) * kLine;
    shift += 2;
  }
  if ((bits & 1) != 0) code |= ((line[byte] >> j) & 1) << shift;
  return weight.table == nullptr ? code : weight.table[code];
}

void quantize(const float* x, int64_t blocks, int32_t block, int32_t levels, int8_t* codes, float* scales,
              int32_t* sums) {
  for (int64_t b = 0; b < blocks; ++b, x += block, codes += block) {
    uint32_t greatest = 0;  // of the absolute values' bits, whose order is that of the values; NaN is above infinity
    for (int k = 0; k < block; ++k) {
      uint32_t bits = 0;
      std::memcpy(&bits, x + k, sizeof(bits));
      bits &= 0x7FFFFFFFU;
      if (bits > greatest) greatest = bits;
    }
    float most = 0;
    std::memcpy(&most, &greatest, sizeof(most));
    sums[b] = 0;
    if (!(most >= 1e-30F && most <= 3.4028234e38F)) {
      scales[b] = most < 1e-30F ? 0.0F : NAN;
      std::memset(codes, 0, static_cast<size_t>(block));
      continue;
    }
    float inverse = 0;
    if (levels == kPowerOfTwo) {
      scales[b] = std::ldexp(1.0F, std::ilogb(most) - 5);
      inverse = 1.0F / scales[b];
    } else {
      scales[b] = most / static_cast<float>(levels);
      inverse = static_cast<float>(levels) / most;
    }
    for (int k = 0; k < block; ++k) {
      codes[k] = static_cast<int8_t>(std::lrintf(x[k] * inverse));
      sums[b] += codes[k];
    }
  }
}

void multiply(const Weight& weight, int64_t panel, const Activations& x, int64_t rows, float* y, uint8_t*) {
  const int64_t blocks = weight.groups * weight.blocks_a_group;
  const ptrdiff_t block_bytes =
      static_cast<ptrdiff_t>(weight.block / step_of(weight.bits)) * kStrips * lines_of(weight.bits) * kLine;
  for (int64_t m = 0; m < rows; ++m) {
    for (int n = 0; n < kPanel; ++n) {
      float sum = 0;
      for (int64_t b = 0; b < blocks; ++b) {
        const int64_t at = (panel * weight.groups + b / weight.blocks_a_group) * kPanel + n;
        const int zero = weight.zeros == nullptr ? weight.zero : weight.zeros[at];
        const uint8_t* block = weight.codes + (panel * blocks + b) * block_bytes;
        const int8_t* codes = x.codes + (m * blocks + b) * weight.block;
        int32_t dot = -zero * x.sums[m * blocks + b];
        for (int k = 0; k < weight.block; ++k) dot += code_at(weight, block, n, k) * codes[k];
        float product = static_cast<float>(dot) * scale_at(weight, at);
        if (weight.offsets != nullptr)
          product = std::fma(static_cast<float>(x.sums[m * blocks + b]), weight.offsets[at], product);
        sum = std::fma(product, x.scales[m * blocks + b], sum);
      }
      y[m * kPanel + n] = sum;
    }
  }
}

float value_of(const Weight& weight, int code, int zero) {
  if (weight.kind == CodeKind::integer) return static_cast<float>(code - zero);
  const int mantissa_bits = weight.kind == CodeKind::e4m3 ? 3 : 2, bias = weight.kind == CodeKind::e4m3 ? 7 : 15;
  const int exponent = (code & 127) >> mantissa_bits, mantissa = code & ((1 << mantissa_bits) - 1);
  const int whole = exponent == 0 ? mantissa : mantissa + (1 << mantissa_bits);
  const float size = std::ldexp(static_cast<float>(whole), (exponent == 0 ? 1 : exponent) - bias - mantissa_bits);
  return (code & 128) != 0 ? -size : size;
}

void multiply_floats(const Weight& weight, int64_t panel, const FloatActivations& x, int64_t rows, float* y, float*) {
  const int64_t blocks = weight.groups * weight.blocks_a_group;
  const ptrdiff_t block_bytes =
      static_cast<ptrdiff_t>(weight.block / step_of(weight.bits)) * kStrips * lines_of(weight.bits) * kLine;
  for (int64_t m = 0; m < rows; ++m) {
    for (int n = 0; n < kPanel; ++n) {
      float sum = 0;
      for (int64_t b = 0; b < blocks; ++b) {
        const int64_t at = (panel * weight.groups + b / weight.blocks_a_group) * kPanel + n;
        const int zero = weight.zeros == nullptr ? weight.zero : weight.zeros[at];
        const uint8_t* block = weight.codes + (panel * blocks + b) * block_bytes;
        const float* from = x.x + (m * blocks + b) * weight.block;
        float dot = 0;
        for (int k = 0; k < weight.block; ++k)
          dot = std::fma(value_of(weight, code_at(weight, block, n, k), zero), from[k], dot);
        sum = std::fma(dot, scale_at(weight, at), sum);
        if (weight.offsets != nullptr) sum = std::fma(x.sums[m * blocks + b], weight.offsets[at], sum);
      }
      y[m * kPanel + n] = sum;
    }
  }
}

void finish(const float* sums, int64_t count, const Finish& how, float* y) {
  for (int64_t i = 0; i < count; ++i) {
    const float value = std::fma(sums[i], how.factor, how.bias == nullptr ? 0.0F : how.bias[i]);
    y[i] = how.add ? std::fma(how.scale, value, y[i]) : value;
  }
}

}  // namespace

const Kernels kernels_ref = {"ref", quantize, multiply, multiply_floats, finish, attend_bytes_ref};

}  // namespace arkit::ark
