#pragma once
// Vectors of 64 bytes.

#include <cstdint>

#include <immintrin.h>

#include "unroll.h"

namespace arkit::ark {
namespace {

struct Avx512 {
  using I = __m512i;
  using F = __m512;
  static constexpr int kRows = 16, kTile = 4, kTileOfOne = 4, kDirect = 4, kBuffered = 6;

  ARK_INLINE static I zero() { return _mm512_setzero_si512(); }
  ARK_INLINE static F zero_float() { return _mm512_setzero_ps(); }
  ARK_INLINE static I set(int32_t value) { return _mm512_set1_epi32(value); }
  ARK_INLINE static F set(float value) { return _mm512_set1_ps(value); }
  ARK_INLINE static I load(const uint8_t* from) { return _mm512_loadu_si512(from); }
  ARK_INLINE static F load(const float* from) { return _mm512_loadu_ps(from); }
  ARK_INLINE static void store(uint8_t* to, I value) { _mm512_storeu_si512(to, value); }
  ARK_INLINE static void store(float* to, F value) { _mm512_storeu_ps(to, value); }
  ARK_INLINE static I band(I value, int byte) {
    return _mm512_and_si512(value, _mm512_set1_epi8(static_cast<char>(byte)));
  }
  ARK_INLINE static I bor(I a, I b) { return _mm512_or_si512(a, b); }
  template <int By>
  ARK_INLINE static I right(I value) {
    return _mm512_srli_epi16(value, By);
  }
  template <int By>
  ARK_INLINE static I left(I value) {
    return _mm512_slli_epi16(value, By);
  }
  ARK_INLINE static I look_up(const uint8_t* table, I codes) {
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table))), codes);
  }
  ARK_INLINE static I broadcast(const int8_t* four) {
    int32_t bits;
    __builtin_memcpy(&bits, four, sizeof(bits));
    return _mm512_set1_epi32(bits);
  }
  template <bool Wide>
  ARK_INLINE static I dot(I sum, I codes, I four) {
    return _mm512_dpbusd_epi32(sum, codes, four);
  }
  ARK_INLINE static I add(I a, I b) { return _mm512_add_epi32(a, b); }
  ARK_INLINE static I sub(I a, I b) { return _mm512_sub_epi32(a, b); }
  ARK_INLINE static I both(I a, int32_t bits) { return _mm512_and_si512(a, _mm512_set1_epi32(bits)); }
  template <int By>
  ARK_INLINE static I right_of_four(I value) {
    return _mm512_srli_epi32(value, By);
  }
  template <int By>
  ARK_INLINE static I left_of_four(I value) {
    return _mm512_slli_epi32(value, By);
  }
  ARK_INLINE static F as_float(I bits) { return _mm512_castsi512_ps(bits); }
  ARK_INLINE static I as_bits(F value) { return _mm512_castps_si512(value); }
  ARK_INLINE static F least(F a, F b) { return _mm512_min_ps(a, b); }
  ARK_INLINE static I mul(I a, I b) { return _mm512_mullo_epi32(a, b); }
  ARK_INLINE static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  ARK_INLINE static F add(F a, F b) { return _mm512_add_ps(a, b); }
  ARK_INLINE static F sub(F a, F b) { return _mm512_sub_ps(a, b); }
  ARK_INLINE static F div(F a, F b) { return _mm512_div_ps(a, b); }
  ARK_INLINE static F most(F a, F b) { return _mm512_max_ps(a, b); }
  ARK_INLINE static float most_of(F value) { return _mm512_reduce_max_ps(value); }
  ARK_INLINE static float total(F value) { return _mm512_reduce_add_ps(value); }
  ARK_INLINE static F times_power(F value, I exponents) {  // value * 2^exponents
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(value), _mm512_slli_epi32(exponents, 23)));
  }
  ARK_INLINE static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  ARK_INLINE static F to_float(I value) { return _mm512_cvtepi32_ps(value); }
  ARK_INLINE static I round(F value) { return _mm512_cvtps_epi32(value); }
  ARK_INLINE static I widen(const uint8_t* bytes) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes)));
  }
  ARK_INLINE static F from_float16(const uint16_t* from) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  }
  ARK_INLINE static F from_bfloat16(const uint16_t* from) {
    return _mm512_castsi512_ps(
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))), 16));
  }

  ARK_INLINE static __mmask16 first(int count) {
    return static_cast<__mmask16>(count >= 16 ? 0xFFFF : (1 << count) - 1);
  }
  ARK_INLINE static F load_some(const float* from, int count) { return _mm512_maskz_loadu_ps(first(count), from); }
  ARK_INLINE static void store_some(int8_t* to, I value, int count) {
    _mm_mask_storeu_epi8(to, first(count), _mm512_cvtepi32_epi8(value));
  }
  ARK_INLINE static void store_bytes(uint8_t* to, I value) {  // of 0 to 255
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(value));
  }
  ARK_INLINE static F load_floats(const float* from, int count) { return load_some(from, count); }
  ARK_INLINE static void store_floats(float* to, F value, int count) { _mm512_mask_storeu_ps(to, first(count), value); }
  ARK_INLINE static float first_of(F value) { return _mm512_cvtss_f32(value); }
  ARK_INLINE static I magnitude(F value) { return _mm512_and_si512(_mm512_castps_si512(value), set(0x7FFFFFFF)); }
  ARK_INLINE static I greater(I a, I b) { return _mm512_max_epi32(a, b); }
  ARK_INLINE static float greatest(I value) {
    const int32_t bits = _mm512_reduce_max_epi32(value);
    float most;
    __builtin_memcpy(&most, &bits, sizeof(most));
    return most;
  }
  ARK_INLINE static int32_t total(I value) { return _mm512_reduce_add_epi32(value); }
};

}  // namespace
}  // namespace arkit::ark
