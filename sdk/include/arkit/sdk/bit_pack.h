#pragma once
// The bit stream BS(b) every integer layout is made of (docs/spec/packing.md 1), on raw memory.
//
//   32 codes of b bits -> b 32-bit words, little endian; code i takes stream bits [i*b, (i+1)*b)
//
//   b = 3:  word 0: c0 c1 ... c9 c10[0:2]   word 1: c10[2] c11 ... c20 c21[0]   word 2: c21[1:3] c22 ... c31
//
// Eight codes are exactly b bytes of the stream, and that is the unit the kernels work in: eight bytes holding one code
// each are squeezed into b bytes in three shift-and-mask steps, with no table and no special case for any b in 1..8.
// Bits of a code above b are ignored. The `_ref` twins are the formula as written above.

#include <cstdint>

namespace arkit::sdk {

inline constexpr int kMaxPackBits = 8;

// One row: `count` codes -> count * bits / 8 bytes. count % 8 == 0.
void pack_row(const uint8_t* codes, int64_t count, int bits, uint8_t* packed);
void pack_row_ref(const uint8_t* codes, int64_t count, int bits, uint8_t* packed);
void unpack_row(const uint8_t* packed, int64_t count, int bits, uint8_t* codes);
void unpack_row_ref(const uint8_t* packed, int64_t count, int bits, uint8_t* codes);

// GPTQ weight: codes [out, in] -> words [in / 32 * bits, out]; block j of 32 inputs of output o becomes words
// (j * bits + k, o), k < bits. Works on outputs [begin, end). in % 32 == 0.
void pack_columns(const uint8_t* codes, int64_t out, int64_t in, int bits, int64_t begin, int64_t end, uint32_t* words);
void pack_columns_ref(const uint8_t* codes, int64_t out, int64_t in, int bits, int64_t begin, int64_t end,
                      uint32_t* words);
void unpack_columns(const uint32_t* words, int64_t out, int64_t in, int bits, int64_t begin, int64_t end,
                    uint8_t* codes);

// AWQ interleave: stored slot j of every eight outputs holds output kAwqOrder[j].
inline constexpr int kAwqOrder[8] = {0, 2, 4, 6, 1, 3, 5, 7};

// AWQ weight: codes [out, in] -> [in, out / 8 * bits] bytes: the transpose, interleaved in eights along out, then BS(b)
// along out. Works on inputs [begin, end). out % 8 == 0.
void pack_awq_columns(const uint8_t* codes, int64_t out, int64_t in, int bits, int64_t begin, int64_t end,
                      uint8_t* packed);
void pack_awq_columns_ref(const uint8_t* codes, int64_t out, int64_t in, int bits, int64_t begin, int64_t end,
                          uint8_t* packed);
void unpack_awq_columns(const uint8_t* packed, int64_t out, int64_t in, int bits, int64_t begin, int64_t end,
                        uint8_t* codes);

}  // namespace arkit::sdk
