#include "util/peak_kernels.h"

#include <arkit/kernel_set.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace arkit {
namespace {

ARKIT_INLINE uint64_t sum_body(const uint64_t* words, size_t count) {
  uint64_t sum = 0;
  for (size_t i = 0; i < count; ++i) sum += words[i];
  return sum;
}

// As many sums as hide how long one takes.
constexpr int kSums = 12;

int32_t plain_loop(int64_t rounds, uint8_t a, int8_t b) {
  int32_t sums[16] = {};
  volatile int32_t product = static_cast<int32_t>(a) * b * 4;
  for (int64_t round = 0; round < rounds; ++round)
    for (int32_t& sum : sums) sum += product;
  return sums[0];
}

#if defined(__x86_64__)
// Sums are variables of their own: those of an array go through memory. They pass through an empty statement each round:
// otherwise a compiler multiplies once.
#define ARKIT_EACH(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11)
static_assert(kSums == 12);

__attribute__((target("avx512f,avx512vnni"))) int32_t vnni512_loop(int64_t rounds, uint8_t a, int8_t b) {
  const __m512i x = _mm512_set1_epi8(static_cast<char>(a)), y = _mm512_set1_epi8(b);
#define ARKIT_DO(i) __m512i sum##i = _mm512_setzero_si512();
  ARKIT_EACH (ARKIT_DO)
#undef ARKIT_DO
    for (int64_t round = 0; round < rounds; ++round) {
#define ARKIT_DO(i)                           \
  sum##i = _mm512_dpbusd_epi32(sum##i, x, y); \
  asm("" : "+v"(sum##i));
      ARKIT_EACH (ARKIT_DO)
#undef ARKIT_DO
    }
#define ARKIT_DO(i) asm volatile("" : : "v"(sum##i));
  ARKIT_EACH (ARKIT_DO)
#undef ARKIT_DO
    int32_t lanes[16];
  _mm512_storeu_si512(lanes, sum0);
  return lanes[0];
}

__attribute__((target("avx2"))) int32_t avx2_loop(int64_t rounds, uint8_t a, int8_t b) {
  __m256i x = _mm256_set1_epi8(static_cast<char>(a));
  const __m256i y = _mm256_set1_epi8(b), ones = _mm256_set1_epi16(1);
#define ARKIT_DO(i) __m256i sum##i = _mm256_setzero_si256();
  ARKIT_EACH (ARKIT_DO)
#undef ARKIT_DO
    for (int64_t round = 0; round < rounds; ++round) {
#define ARKIT_DO(i)  \
  asm("" : "+x"(x)); \
  sum##i = _mm256_add_epi32(sum##i, _mm256_madd_epi16(_mm256_maddubs_epi16(x, y), ones));
      ARKIT_EACH (ARKIT_DO)
#undef ARKIT_DO
    }
#define ARKIT_DO(i) asm volatile("" : : "x"(sum##i));
  ARKIT_EACH (ARKIT_DO)
#undef ARKIT_DO
    return _mm_cvtsi128_si32(_mm256_castsi256_si128(sum0));
}
#undef ARKIT_EACH
#endif

}  // namespace

uint64_t sum_of_words(std::span<const uint64_t> words) {
  return by_kernel_set<sum_body>(words.data(), words.size());
}

DotLoop dot_loop() {
#if defined(__x86_64__)
  if (kernel_set() == KernelSet::avx512 && __builtin_cpu_supports("avx512vnni") != 0)
    return {"vpdpbusd on 512 bits", kSums * 16 * 8, vnni512_loop};
  if (kernel_set() != KernelSet::baseline) return {"vpmaddubsw on 256 bits", kSums * 8 * 8, avx2_loop};
#endif
  return {"scalar", 16 * 8, plain_loop};
}

}  // namespace arkit
