#pragma once
// What a decoder block computes between its linear layers, in float32. No LibTorch, no standard library with inline code.

#include <cstddef>
#include <cstdint>

namespace arkit::ark {

inline constexpr int kKeyTile = 64;    // keys whose scores are computed together
inline constexpr int kQueryTile = 32;  // queries of one head that share a tile of keys
inline constexpr int kMaxHeadDim = 256;

enum class CacheType : int32_t { float32, bfloat16 };
enum class Activation : int32_t { silu, gelu_tanh };

// Keys and values of one head of one sequence: position p lies `head_stride * (p / page_size's page) ...`.
struct CacheHead {
  const void* keys;  // of the pool, at this head of page 0
  const void* values;
  const int64_t* pages;  // of the sequence
  int64_t page_stride;   // elements from a page to the next
  int64_t page_size;
  CacheType type;
};

// Queries of the heads that share one head of keys.
struct Attend {
  CacheHead cache;
  int64_t first;    // position of the first query
  int64_t queries;  // at most kQueryTile, one behind the other
  int64_t heads;    // that share the keys
  int64_t dim;      // a multiple of 16, at most kMaxHeadDim
  int64_t window;   // 0 = all positions before
  float scale;
  const float* query;  // of the first query and head; heads lie `dim` apart
  float* out;          // the same places
  int64_t stride;      // floats from one query to the next
  float* scratch;      // attend_scratch(heads, dim) floats
};

constexpr int64_t attend_scratch(int64_t heads, int64_t dim) {
  return 2 * kKeyTile * dim + heads * kQueryTile * (kKeyTile + dim + 2);
}

struct BlockKernels {
  // out = (offset + weight) * x / sqrt(mean(x^2) + epsilon); out may be x.
  void (*rms_norm)(const float* x, const float* weight, int64_t n, float epsilon, float offset, float* out);
  // Turns the first 2 * half channels of each head of a row; cos and sin are [half].
  void (*rope)(float* x, int64_t heads, int64_t dim, int64_t half, bool neighbours, const float* cos, const float* sin);
  void (*attend)(const Attend& a);
  // out = activation(gate) * up; out may be gate.
  void (*gated)(Activation activation, const float* gate, const float* up, int64_t n, float* out);
  // y += scale * x
  void (*add)(const float* x, float scale, int64_t n, float* y);
};

#if defined(__x86_64__)
extern const BlockKernels block_kernels_avx2;
extern const BlockKernels block_kernels_avx512;
#endif

}  // namespace arkit::ark
