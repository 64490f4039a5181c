#pragma once
// Codes of packed integer layers, one at a time, from the formulas of docs/spec/packing.md 1 to 4. Readers and `verify`
// use this; it shares nothing with bit_pack.h on purpose, so that a mistake in the packers cannot hide behind its own
// inverse. Keep it so.

#include <cstdint>

namespace arkit::sdk {

// Code i of a bit stream of b-bit codes: bits [i * b, (i + 1) * b) of little-endian 32-bit words.
[[nodiscard]] uint8_t stream_code(const uint32_t* words, int64_t index, int bits);
// The first `count` codes of a stream.
void stream_codes(const uint32_t* words, int64_t count, int bits, uint8_t* codes);

// GPTQ words [in / 32 * bits, out] -> codes [out, in], for outputs [begin, end). in % 32 == 0, bits 1 to 8.
void decode_gptq_words(const uint32_t* words, int64_t out, int64_t in, int bits, int64_t begin, int64_t end,
                       uint8_t* codes);
// AWQ words [rows, out / 32 * bits] -> codes [out, rows], for outputs [begin, end). With rows = G this reads qzeros.
void decode_awq_words(const uint32_t* words, int64_t out, int64_t rows, int bits, int64_t begin, int64_t end,
                      uint8_t* codes);
// Words [rows, out / 32 * bits] without interleave -> codes [out, rows]: GPTQ's qzeros.
void decode_row_words(const uint32_t* words, int64_t out, int64_t rows, int bits, uint8_t* codes);

}  // namespace arkit::sdk
