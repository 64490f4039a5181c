#pragma once
// Products of packed weights and activations that are quantized to int8 while they are read:
//
//   y[m][n] = sum over blocks b of  s_x[m][b] * ( s_w[n][g(b)] * sum_k (u[n][k] - z[n][g]) * q[m][k]  +  o[n][g] * sum_k q[m][k] )
//
// u are unsigned codes of 2 to 8 bits (or what a table of 16 makes of 4-bit codes), q int8. Sums over k are integers and
// exact; over blocks they are float32, in the order of the blocks, one rounding after s_w *, one fused with s_x *. Every
// set of kernels gives the same bits as `ref`. No LibTorch, no standard library with inline code: files compiled for one
// instruction set include this.

#include <cstddef>
#include <cstdint>

#include "byte_attention.h"

namespace arkit::ark {

inline constexpr int kPanel = 64;                   // rows of W (columns of y) that are computed together
inline constexpr int kLine = 64;                    // bytes: 16 rows of W times four k, the operand of one dot product
inline constexpr int kStrips = kPanel * 4 / kLine;  // lines side by side
inline constexpr int kMaxBlock = 128;               // k of one activation scale
inline constexpr int kFewRows = 4;                  // up to here codes are unpacked in registers, once a row group

// Codes of `bits` are kept as planes of 4, 2 and 1 bits (8: bytes). A step is the least number of k that fills lines:
//   plane of 4: a line holds k+i (low half of byte c*4+i) and k+4+i (high half)   i = 0..3, c = row of W in the strip
//   plane of 2: a line holds k+4j+i in bits 2j, 2j+1                               j = 0..3
//   plane of 1: a line holds k+4j+i in bit j                                       j = 0..7
// In memory: [panel][block][step][strip][line], lines of the planes in the order 4, 2, 1.
constexpr int step_of(int bits) {
  return bits == 8 ? 4 : (bits & 1) != 0 ? 32 : (bits & 2) != 0 ? 16 : 8;
}
constexpr int lines_of(int bits) {  // of one strip and step
  return bits == 8 ? 1 : step_of(bits) * bits / 32;
}
// 7 bits are three planes.
static_assert(step_of(7) == 32 && lines_of(7) == 7 && lines_of(6) == 3 && lines_of(5) == 5 && lines_of(3) == 3);

// Steps from zero to the greatest value of a block of x: as many as int8 has; or a number that the steps of a grid x is on
// divide, so that its values are met exactly. 0.5 1 1.5 2 3 4 6 divide 120, whichever is the greatest.
inline constexpr int32_t kMostLevels = 127, kLevelsOfE2m1 = 120, kPowerOfTwo = 0;

enum class ScaleType : int32_t { float16, bfloat16, float32 };

// What a code stands for: itself less its zero point, or an 8-bit float (of OCP's two kinds, none of them NaN or infinite),
// which `multiply_floats` alone takes.
enum class CodeKind : int32_t { integer, e4m3, e5m2 };

struct Weight {
  const uint8_t* codes;  // see above
  const void* scales;    // [panel][group][kPanel]
  const uint8_t* zeros;  // [panel][group][kPanel]; null = `zero` everywhere
  const float* offsets;  // [panel][group][kPanel]; null = none
  const uint8_t* table;  // 16 entries that 4-bit codes stand for; null = themselves
  ScaleType scale_type;
  CodeKind kind;
  int32_t bits;
  int32_t zero;
  int32_t block;  // k of a block: a multiple of step_of(bits), at most kMaxBlock
  int64_t blocks_a_group;
  int64_t groups;
};

// Rows of x as `quantize` leaves them; k that a group lacks to full blocks are zeros.
struct Activations {
  const int8_t* codes;  // [rows][blocks * block]
  const float* scales;  // [rows][blocks]; what is no number makes the sums of its row none
  const int32_t* sums;  // [rows][blocks] of codes
};

// The same rows as they are.
struct FloatActivations {
  const float* x;     // [rows][blocks * block]
  const float* sums;  // [rows][blocks] of x, added in its order
};

// y[i] = sums[i] * factor + bias[i], or with `add` y[i] += scale * that; bias may be null.
struct Finish {
  const float* bias;
  float factor;
  float scale;
  bool add;
};

struct Kernels {
  const char* name;
  // One row of `blocks` * `block` floats: scale = max|x| / levels, or with kPowerOfTwo the power of two that leaves 32 to
  // 64 steps; codes rounded to nearest even. A block whose greatest value is below 1e-30 counts as zero.
  void (*quantize)(const float* x, int64_t blocks, int32_t block, int32_t levels, int8_t* codes, float* scales,
                   int32_t* sums);
  // y[rows][kPanel] of one panel, `rows` from the first of `x` on; y is overwritten. `scratch`: kMaxBlock * kPanel bytes,
  // aligned to 64.
  void (*multiply)(const Weight& weight, int64_t panel, const Activations& x, int64_t rows, float* y, uint8_t* scratch);
  // The same with x as it is:
  //
  //   y[m][n] = sum over blocks b of  s_w[n][g] * sum_k w[n][k] * x[m][k]  +  o[n][g] * sum_k x[m][k]
  //
  // w = u - z or the float that u is, both exact; a block's sum is float32, one fused step for each k in their order.
  // `scratch`: kMaxBlock * kPanel floats, aligned to 64.
  void (*multiply_floats)(const Weight& weight, int64_t panel, const FloatActivations& x, int64_t rows, float* y,
                          float* scratch);
  void (*finish)(const float* sums, int64_t count, const Finish& how, float* y);
  void (*attend)(const ByteAttention& a);
};

extern const Kernels kernels_ref;
void attend_bytes_ref(const ByteAttention& a);
#if defined(__x86_64__)
extern const Kernels kernels_avx2;
extern const Kernels kernels_avx_vnni;
extern const Kernels kernels_avx512_vnni;
// With tiles for many rows; only where amx_permitted(), which asks the system for them once for the whole process.
const Kernels& kernels_amx();
bool amx_permitted();
#endif

}  // namespace arkit::ark
