#pragma once
// Vectors of 32 bytes. With ARK_AVX_VNNI a dot product is one instruction.

#include <cstdint>

#include <immintrin.h>

#include "unroll.h"

namespace arkit::ark {
namespace {

struct Avx2 {
  using I = __m256i;
  using F = __m256;
#ifdef ARK_AVX_VNNI
  static constexpr int kRows = 8, kTile = 4, kTileOfOne = 8, kDirect = 2, kBuffered = 3;
#else
  static constexpr int kRows = 8, kTile = 4, kTileOfOne = 8, kDirect = 2, kBuffered = 2;
#endif

  ARK_INLINE static I zero() {
    return _mm256_setzero_si256();
  }
  ARK_INLINE static F zero_float() {
    return _mm256_setzero_ps();
  }
  ARK_INLINE static I set(int32_t value) {
    return _mm256_set1_epi32(value);
  }
  ARK_INLINE static F set(float value) {
    return _mm256_set1_ps(value);
  }
  ARK_INLINE static I load(const uint8_t* from) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  }
  ARK_INLINE static F load(const float* from) {
    return _mm256_loadu_ps(from);
  }
  ARK_INLINE static void store(uint8_t* to, I value) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), value);
  }
  ARK_INLINE static void store(float* to, F value) {
    _mm256_storeu_ps(to, value);
  }
  ARK_INLINE static I band(I value, int byte) {
    return _mm256_and_si256(value, _mm256_set1_epi8(static_cast<char>(byte)));
  }
  ARK_INLINE static I bor(I a, I b) {
    return _mm256_or_si256(a, b);
  }
  template <int By>
  ARK_INLINE static I right(I value) {
    return _mm256_srli_epi16(value, By);
  }
  template <int By>
  ARK_INLINE static I left(I value) {
    return _mm256_slli_epi16(value, By);
  }
  ARK_INLINE static I look_up(const uint8_t* table, I codes) {
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table))),
                               codes);
  }
  ARK_INLINE static I broadcast(const int8_t* four) {
    int32_t bits;
    __builtin_memcpy(&bits, four, sizeof(bits));
    return _mm256_set1_epi32(bits);
  }
#ifdef ARK_AVX_VNNI
  template <bool Wide>
  ARK_INLINE static I dot(I sum, I codes, I four) {
    return _mm256_dpbusd_avx_epi32(sum, codes, four);
  }
#else
  // Sums of two products fit 16 bits as long as codes have 7 bits: 2 * 127 * 127.
  ARK_INLINE static I dot_of_seven(I sum, I codes, I four, int16_t times) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(codes, four), _mm256_set1_epi16(times)));
  }
  template <bool Wide>
  ARK_INLINE static I dot(I sum, I codes, I four) {
    if constexpr (!Wide) return dot_of_seven(sum, codes, four, 1);
    sum = dot_of_seven(sum, band(codes, 127), four, 1);
    return dot_of_seven(sum, band(right<7>(codes), 1), four, 128);
  }
#endif
  ARK_INLINE static I sub(I a, I b) {
    return _mm256_sub_epi32(a, b);
  }
  ARK_INLINE static I both(I a, int32_t bits) {
    return _mm256_and_si256(a, _mm256_set1_epi32(bits));
  }
  template <int By>
  ARK_INLINE static I right_of_four(I value) {
    return _mm256_srli_epi32(value, By);
  }
  template <int By>
  ARK_INLINE static I left_of_four(I value) {
    return _mm256_slli_epi32(value, By);
  }
  ARK_INLINE static F as_float(I bits) {
    return _mm256_castsi256_ps(bits);
  }
  ARK_INLINE static I as_bits(F value) {
    return _mm256_castps_si256(value);
  }
  ARK_INLINE static F least(F a, F b) {
    return _mm256_min_ps(a, b);
  }
  ARK_INLINE static I add(I a, I b) {
    return _mm256_add_epi32(a, b);
  }
  ARK_INLINE static I mul(I a, I b) {
    return _mm256_mullo_epi32(a, b);
  }
  ARK_INLINE static F mul(F a, F b) {
    return _mm256_mul_ps(a, b);
  }
  ARK_INLINE static F add(F a, F b) {
    return _mm256_add_ps(a, b);
  }
  ARK_INLINE static F sub(F a, F b) {
    return _mm256_sub_ps(a, b);
  }
  ARK_INLINE static F div(F a, F b) {
    return _mm256_div_ps(a, b);
  }
  ARK_INLINE static F most(F a, F b) {
    return _mm256_max_ps(a, b);
  }
  ARK_INLINE static float most_of(F value) {
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(value), _mm256_extractf128_ps(value, 1));
    four = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(four, _mm_shuffle_ps(four, four, 1)));
  }
  ARK_INLINE static float total(F value) {
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(value), _mm256_extractf128_ps(value, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_shuffle_ps(four, four, 1)));
  }
  ARK_INLINE static F times_power(F value, I exponents) {  // value * 2^exponents
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(value), _mm256_slli_epi32(exponents, 23)));
  }
  ARK_INLINE static F fma(F a, F b, F c) {
    return _mm256_fmadd_ps(a, b, c);
  }
  ARK_INLINE static F to_float(I value) {
    return _mm256_cvtepi32_ps(value);
  }
  ARK_INLINE static I round(F value) {
    return _mm256_cvtps_epi32(value);
  }
  ARK_INLINE static I widen(const uint8_t* bytes) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes)));
  }
  ARK_INLINE static F from_float16(const uint16_t* from) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  }
  ARK_INLINE static F from_bfloat16(const uint16_t* from) {
    return _mm256_castsi256_ps(
        _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))), 16));
  }

  // Blocks are multiples of four.
  ARK_INLINE static F load_some(const float* from, int count) {
    return count >= 8 ? load(from) : _mm256_zextps128_ps256(_mm_loadu_ps(from));
  }
  ARK_INLINE static void store_some(int8_t* to, I value, int count) {
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(value), _mm256_extracti128_si256(value, 1));
    const __m128i bytes = _mm_packs_epi16(words, words);
    if (count >= 8)
      _mm_storel_epi64(reinterpret_cast<__m128i*>(to), bytes);
    else
      _mm_storeu_si32(to, bytes);
  }
  ARK_INLINE static void store_bytes(uint8_t* to, I value) {  // of 0 to 255
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(value), _mm256_extracti128_si256(value, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_packus_epi16(words, words));
  }
  ARK_INLINE static __m256i first(int count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  ARK_INLINE static F load_floats(const float* from, int count) {
    return _mm256_maskload_ps(from, first(count));
  }
  ARK_INLINE static void store_floats(float* to, F value, int count) {
    _mm256_maskstore_ps(to, first(count), value);
  }
  ARK_INLINE static float first_of(F value) {
    return _mm256_cvtss_f32(value);
  }
  ARK_INLINE static I magnitude(F value) {
    return _mm256_and_si256(_mm256_castps_si256(value), set(0x7FFFFFFF));
  }
  ARK_INLINE static I greater(I a, I b) {
    return _mm256_max_epi32(a, b);
  }
  ARK_INLINE static float greatest(I value) {
    __m128i four = _mm_max_epi32(_mm256_castsi256_si128(value), _mm256_extracti128_si256(value, 1));
    four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4E));
    four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0xB1));
    return _mm_cvtss_f32(_mm_castsi128_ps(four));
  }
  ARK_INLINE static int32_t total(I value) {
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(value), _mm256_extracti128_si256(value, 1));
    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4E));
    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0xB1));
    return _mm_cvtsi128_si32(four);
  }
};

}  // namespace
}  // namespace arkit::ark
