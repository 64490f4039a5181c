#pragma once
// The searches of many groups at once: `ref` one group after the other, the others several side by side, a lane a group,
// each in the order of `ref`. No LibTorch, no standard library with inline code: files compiled for one instruction set
// include this.

#include <cstdint>

namespace arkit::gguf_k {

// What the error of a weight counts.
enum class Weigh : int32_t {
  squares,     // x * x
  magnitudes,  // |x|
  deviations,  // sqrt(mean of x * x in the group) + |x|
  importance,  // q
  spread,      // q * sqrt(spread of the group + x * x)
};

struct Steps {
  float first, step;
  int32_t count;      // of steps behind the first
  bool by_magnitude;  // the error is |e|, else e * e
};

// Groups of `group` weights side by side in a row.
struct GroupRun {
  const float* x;           // [groups * group]
  const float* importance;  // the same; importance, spread
  const float* spread;      // [groups]; spread
  Weigh weigh;
  int64_t groups;
  int32_t group;   // 16 or 32
  int32_t most;    // affine: codes 0 .. most; else -most .. most - 1, stored + most
  Steps steps;     // affine
  uint8_t* codes;  // [groups * group]
  float* scales;   // [groups]
  float* minima;   // [groups]; affine
  float* sums;     // [groups] of what weights count; null = not asked for
};

// Codes of groups whose scales are coded: nearest((x + minimum) / scale), clamped; groups of scale 0 keep theirs.
struct AgainRun {
  const float* x;
  const float* scales;
  const float* minima;  // null = none
  int64_t groups;
  int32_t group;
  int32_t least, most;  // codes are stored less `least`
  uint8_t* codes;
};

// Blocks of 32 whose scale is a matter of their extremes; scales before they are rounded to float16.
struct PlainRun {
  const float* x;  // [blocks * 32]
  int64_t blocks;
  int32_t bits;
  uint8_t* codes;
  float* scales;  // [blocks]
  float* minima;  // [blocks]; affine: the least value, negated
};

struct Searches {
  const char* name;
  void (*affine)(const GroupRun& run);
  void (*symmetric)(const GroupRun& run);
  void (*descend)(const GroupRun& run);  // weighs by squares
  void (*again)(const AgainRun& run);
  // Without importance: Q4_0 and Q5_0, Q4_1 and Q5_1, Q8_0.
  void (*plain_symmetric)(const PlainRun& run);
  void (*plain_affine)(const PlainRun& run);
  void (*plain_bytes)(const PlainRun& run);
};

extern const Searches searches_ref;
extern const Searches searches_baseline;
#if defined(__x86_64__)
extern const Searches searches_avx2;
extern const Searches searches_avx512;
#endif

}  // namespace arkit::gguf_k
