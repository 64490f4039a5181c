#pragma once
// Sixteen floats at a time, as one, two or four machine vectors: the same operations on the same lanes whatever the
// instruction set, so results do not depend on it. Include it only from a kernel source, after defining ARKIT_ISA; all
// names live in a namespace of that name, because equal inline functions compiled for different instruction sets must
// not be merged by the linker.

#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include <arkit/sdk/float16.h>
#include <arkit/sdk/kernels.h>

#ifndef ARKIT_ISA
#define ARKIT_ISA portable
#endif

namespace arkit::sdk::ARKIT_ISA {

#if defined(__AVX512F__)
inline constexpr int kLanes = 16;
#elif defined(__AVX2__)
inline constexpr int kLanes = 8;
#else
inline constexpr int kLanes = 4;
#endif
inline constexpr int kWidth = 16, kParts = kWidth / kLanes;

typedef float NativeF __attribute__((vector_size(4 * kLanes)));
typedef int32_t NativeI __attribute__((vector_size(4 * kLanes)));
typedef uint32_t NativeU __attribute__((vector_size(4 * kLanes)));
typedef uint16_t NativeH __attribute__((vector_size(2 * kLanes)));
typedef uint8_t NativeB __attribute__((vector_size(kLanes)));

struct Floats {
  NativeF p[kParts];
};
struct Mask {  // each lane 0 or -1; also plain integers
  NativeI p[kParts];
};

#define ARKIT_EACH_PART for (int part = 0; part < kParts; ++part)

ARKIT_ALWAYS_INLINE Floats splat(float x) {
  Floats r;
  ARKIT_EACH_PART r.p[part] = x - NativeF{};  // x - 0 keeps the sign of zero
  return r;
}
ARKIT_ALWAYS_INLINE Floats operator+(Floats a, Floats b) {
  ARKIT_EACH_PART a.p[part] += b.p[part];
  return a;
}
ARKIT_ALWAYS_INLINE Floats operator-(Floats a, Floats b) {
  ARKIT_EACH_PART a.p[part] -= b.p[part];
  return a;
}
ARKIT_ALWAYS_INLINE Floats operator*(Floats a, Floats b) {
  ARKIT_EACH_PART a.p[part] *= b.p[part];
  return a;
}
ARKIT_ALWAYS_INLINE Floats operator/(Floats a, Floats b) {
  ARKIT_EACH_PART a.p[part] /= b.p[part];
  return a;
}
ARKIT_ALWAYS_INLINE Floats min_of(Floats a, Floats b) {  // b where unordered
  ARKIT_EACH_PART a.p[part] = a.p[part] < b.p[part] ? a.p[part] : b.p[part];
  return a;
}
ARKIT_ALWAYS_INLINE Floats max_of(Floats a, Floats b) {
  ARKIT_EACH_PART a.p[part] = a.p[part] > b.p[part] ? a.p[part] : b.p[part];
  return a;
}
// NaN stays NaN, like torch.clamp.
ARKIT_ALWAYS_INLINE Floats clamp(Floats x, Floats low, Floats high) {
  return min_of(high, max_of(low, x));
}
ARKIT_ALWAYS_INLINE Mask in_range(Floats x, Floats low, Floats high) {
  Mask m;
  ARKIT_EACH_PART m.p[part] = (x.p[part] >= low.p[part]) & (x.p[part] <= high.p[part]);
  return m;
}
ARKIT_ALWAYS_INLINE Floats where(Mask mask, Floats x) {  // x or +0
  ARKIT_EACH_PART x.p[part] = (NativeF)((NativeI)x.p[part] & mask.p[part]);
  return x;
}
ARKIT_ALWAYS_INLINE Floats where_not(Mask mask, Floats x) {
  ARKIT_EACH_PART x.p[part] = (NativeF)((NativeI)x.p[part] & ~mask.p[part]);
  return x;
}

// Half to even, sign of zero kept. The portable form is exact below 2^23; above it every float is an integer.
ARKIT_ALWAYS_INLINE Floats round_even(Floats x) {
#if defined(__AVX512F__)
  ARKIT_EACH_PART x.p[part] =
      (NativeF)_mm512_roundscale_ps((__m512)x.p[part], _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif defined(__AVX2__)
  ARKIT_EACH_PART x.p[part] =
      (NativeF)_mm256_round_ps((__m256)x.p[part], _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
  ARKIT_EACH_PART {
    const NativeI bits = (NativeI)x.p[part], sign = bits & INT32_MIN;
    const NativeF magnitude = (NativeF)(bits & INT32_MAX), big = 8388608.0F - NativeF{};
    const NativeI rounded = (NativeI)((magnitude + big) - big) | sign, small = magnitude < big;
    x.p[part] = (NativeF)((rounded & small) | (bits & ~small));
  }
#endif
  return x;
}

// Bits of |x|, to find NaN and infinity: both are >= 0x7F800000.
ARKIT_ALWAYS_INLINE Mask magnitude_bits(Floats x) {
  Mask m;
  ARKIT_EACH_PART m.p[part] = (NativeI)x.p[part] & INT32_MAX;
  return m;
}
ARKIT_ALWAYS_INLINE Mask max_of(Mask a, Mask b) {
  ARKIT_EACH_PART a.p[part] = a.p[part] > b.p[part] ? a.p[part] : b.p[part];
  return a;
}
ARKIT_ALWAYS_INLINE int32_t highest(Mask m) {  // or 0
#if defined(__AVX512F__)
  const int32_t best = _mm512_reduce_max_epi32((__m512i)m.p[0]);
  return best > 0 ? best : 0;
#else
  int32_t lanes[kWidth], best = 0;
  std::memcpy(lanes, m.p, sizeof lanes);
  for (const int32_t lane : lanes) best = lane > best ? lane : best;
  return best;
#endif
}

ARKIT_ALWAYS_INLINE Floats load(const float* from) {
  Floats r;
  std::memcpy(r.p, from, sizeof r.p);
  return r;
}
ARKIT_ALWAYS_INLINE void store(float* to, Floats x) {
  std::memcpy(to, x.p, sizeof x.p);
}

// The fixed order of every sum: halving.
ARKIT_ALWAYS_INLINE float sum(Floats x) {
#if defined(__AVX512F__)
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256((__m512)x.p[0]), _mm512_extractf32x8_ps((__m512)x.p[0], 1));
#elif defined(__AVX2__)
  const __m256 eight = _mm256_add_ps((__m256)x.p[0], (__m256)x.p[1]);
#endif
#if defined(__AVX2__)
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
#else
  float l[kWidth];
  store(l, x);
  for (int half = kWidth / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) l[i] += l[i + half];
  return l[0];
#endif
}
// The smallest lane, or +0 where none is below; the largest likewise. No NaN.
ARKIT_ALWAYS_INLINE float lowest(Floats x) {
#if defined(__AVX512F__)
  const float best = _mm512_reduce_min_ps((__m512)x.p[0]);
  return best < 0 ? best : 0.0F;
#else
  float lanes[kWidth], best = 0;
  store(lanes, x);
  for (const float lane : lanes) best = lane < best ? lane : best;
  return best;
#endif
}
ARKIT_ALWAYS_INLINE float highest(Floats x) {
#if defined(__AVX512F__)
  const float best = _mm512_reduce_max_ps((__m512)x.p[0]);
  return best > 0 ? best : 0.0F;
#else
  float lanes[kWidth], best = 0;
  store(lanes, x);
  for (const float lane : lanes) best = lane > best ? lane : best;
  return best;
#endif
}

// 16-bit storage types.
struct Bf16 {
  uint16_t bits;
};
struct Half {
  uint16_t bits;
};

ARKIT_ALWAYS_INLINE Floats load(const Bf16* from) {
  Floats r;
  ARKIT_EACH_PART {
#if defined(__AVX512F__)  // compilers widen half by half, or lane by lane
    __m256i h;
    std::memcpy(&h, from, sizeof h);
    r.p[part] = (NativeF)_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16);
#else
    NativeH h;
    std::memcpy(&h, from + part * kLanes, sizeof h);
    r.p[part] = (NativeF)(__builtin_convertvector(h, NativeU) << 16);
#endif
  }
  return r;
}
// Bits of x rounded to bfloat16, still in the upper half.
ARKIT_ALWAYS_INLINE NativeU bfloat16_bits(NativeF x) {
  const NativeU bits = (NativeU)x;
  return bits + 0x7FFFU + ((bits >> 16) & 1U);
}
ARKIT_ALWAYS_INLINE void store(Bf16* to, Floats x) {
  ARKIT_EACH_PART {
    const NativeU rounded = bfloat16_bits(x.p[part]) >> 16, nan = (NativeU)(x.p[part] != x.p[part]);
    const NativeH h = __builtin_convertvector((rounded & ~nan) | (nan & 0x7FC0U), NativeH);
    std::memcpy(to + part * kLanes, &h, sizeof h);
  }
}
// Finite x only.
ARKIT_ALWAYS_INLINE Floats round_to_bfloat16(Floats x) {
  ARKIT_EACH_PART x.p[part] = (NativeF)(bfloat16_bits(x.p[part]) & 0xFFFF0000U);
  return x;
}

ARKIT_ALWAYS_INLINE Floats load(const Half* from) {
  Floats r;
#if defined(__AVX2__)
  ARKIT_EACH_PART {
#if defined(__AVX512F__)
    __m256i h;
    std::memcpy(&h, from, sizeof h);
    r.p[part] = (NativeF)_mm512_cvtph_ps(h);
#else
    __m128i h;
    std::memcpy(&h, from + part * kLanes, sizeof h);
    r.p[part] = (NativeF)_mm256_cvtph_ps(h);
#endif
  }
#else
  float lanes[kWidth];
  for (int i = 0; i < kWidth; ++i) lanes[i] = sdk::float16_to_float(from[i].bits);
  r = load(lanes);
#endif
  return r;
}
ARKIT_ALWAYS_INLINE void store(Half* to, Floats x) {
#if defined(__AVX512F__)
  const __m256i h = _mm512_cvtps_ph((__m512)x.p[0], _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  std::memcpy(to, &h, sizeof h);
#elif defined(__AVX2__)
  ARKIT_EACH_PART {
    const __m128i h = _mm256_cvtps_ph((__m256)x.p[part], _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    std::memcpy(to + part * kLanes, &h, sizeof h);
  }
#else
  float lanes[kWidth];
  store(lanes, x);
  for (int i = 0; i < kWidth; ++i) to[i].bits = sdk::float_to_float16(lanes[i]);
#endif
}
ARKIT_ALWAYS_INLINE Floats round_to_float16(Floats x) {
  Half h[kWidth];
  store(h, x);
  return load(h);
}

ARKIT_ALWAYS_INLINE void store_codes(uint8_t* to, Floats x) {
  ARKIT_EACH_PART {
    const NativeB b = __builtin_convertvector(__builtin_convertvector(x.p[part], NativeI), NativeB);
    std::memcpy(to + part * kLanes, &b, sizeof b);
  }
}
ARKIT_ALWAYS_INLINE void store_codes(uint8_t* to, Mask x) {
  ARKIT_EACH_PART {
    const NativeB b = __builtin_convertvector(x.p[part], NativeB);
    std::memcpy(to + part * kLanes, &b, sizeof b);
  }
}
ARKIT_ALWAYS_INLINE Mask load_bytes(const uint8_t* from) {
  Mask r;
  ARKIT_EACH_PART {
#if defined(__AVX512F__)
    __m128i b;
    std::memcpy(&b, from, sizeof b);
    r.p[part] = (NativeI)_mm512_cvtepu8_epi32(b);
#elif defined(__AVX2__)
    r.p[part] = (NativeI)_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from + part * kLanes)));
#else
    NativeB b;
    std::memcpy(&b, from + part * kLanes, sizeof b);
    r.p[part] = __builtin_convertvector(b, NativeI);
#endif
  }
  return r;
}
ARKIT_ALWAYS_INLINE Floats load_codes(const uint8_t* from) {
  const Mask whole = load_bytes(from);
  Floats r;
  ARKIT_EACH_PART r.p[part] = __builtin_convertvector(whole.p[part], NativeF);
  return r;
}

// A short last strip is copied through a buffer padded with zeros.
template <typename T>
ARKIT_ALWAYS_INLINE Floats load_strip(const T* from, int64_t n) {
  if (n >= kWidth) return load(from);
  T padded[kWidth] = {};
  for (int64_t i = 0; i < n; ++i) padded[i] = from[i];
  return load(padded);
}

template <typename T>
ARKIT_ALWAYS_INLINE void store_strip(T* to, Floats x, int64_t n) {
  if (n >= kWidth) return store(to, x);
  T padded[kWidth];
  store(padded, x);
  for (int64_t i = 0; i < n; ++i) to[i] = padded[i];
}

template <typename Codes>  // Floats or Mask
ARKIT_ALWAYS_INLINE void store_codes_strip(uint8_t* to, Codes x, int64_t n) {
  if (n >= kWidth) return store_codes(to, x);
  uint8_t padded[kWidth];
  store_codes(padded, x);
  for (int64_t i = 0; i < n; ++i) to[i] = padded[i];
}

// Where group i lies in the matrix.
struct Span {
  int64_t offset, length;
};

ARKIT_ALWAYS_INLINE Span group_span(const Groups& g, int64_t i) {
  const int64_t row = i / g.per_row, start = (i % g.per_row) * g.group;
  const int64_t left = g.in - start;
  return {row * g.in + start, left < g.group ? left : g.group};
}

// Calls f(typed pointer).
template <typename F>
ARKIT_ALWAYS_INLINE void with_type(Dtype dtype, const void* data, const F& f) {
  if (dtype == Dtype::f32)
    f(static_cast<const float*>(data));
  else if (dtype == Dtype::bf16)
    f(static_cast<const Bf16*>(data));
  else
    f(static_cast<const Half*>(data));
}
template <typename F>
ARKIT_ALWAYS_INLINE void with_type(Dtype dtype, void* data, const F& f) {
  if (dtype == Dtype::f32)
    f(static_cast<float*>(data));
  else if (dtype == Dtype::bf16)
    f(static_cast<Bf16*>(data));
  else
    f(static_cast<Half*>(data));
}

}  // namespace arkit::sdk::ARKIT_ISA
