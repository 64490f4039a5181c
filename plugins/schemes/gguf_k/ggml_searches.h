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
  int32_t group;                  // 16 or 32
  int32_t most;                   // affine: codes 0 .. most; else -most .. most - 1, stored + most
  Steps steps;                    // affine
  uint8_t* codes;                 // [groups * group]
  float* scales;                  // [groups]
  float* minima;                  // [groups]; affine
  float* sums;                    // [groups] of what weights count; null = not asked for
  const float* trials = nullptr;  // AutoRound's affine: the length of the range in each of steps.count steps
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

// Blocks whose codes are places in a table and whose scales are given: half a scale a group, levels of E2M1 being doubled.
struct LevelRun {
  const float* x;       // [groups * group]
  const float* scales;  // [groups], none negative
  int64_t groups;
  int32_t group;   // a multiple of 16
  uint8_t* codes;  // [groups * group]
};

inline constexpr float kLeastTritScale = 0x1p-126F;  // the inverse of what is below may be infinite: as if it were 0

// The scale of groups of 16 E2M1 values among UE4M3 bytes near the one that its largest magnitude asks for: the least
// error of codes, weighed. A lower byte cuts the largest off, half an octave more makes it 4 instead of 6.
inline constexpr int kLeastByteStep = -3, kMostByteStep = 5, kMostScaleByte = 126;
struct ByteRun {
  const float* x;           // [groups * 16]
  const float* importance;  // the same
  int64_t groups;
  const float* halves;  // [kMostScaleByte + 1]: half of what each byte is worth
  int32_t* bytes;       // [groups]; in: by the largest magnitude
};

// Blocks of 32 of signed codes: the scale of largest magnitude / -most, or with importance the one of least error among
// 2 * kCandidates + 1, from a quarter to seven quarters of its codes.
inline constexpr int kCandidates = 100;
struct CandidateRun {
  const float* x;           // [blocks * 32]
  const float* importance;  // the same; null = none
  int64_t blocks;
  int32_t most;   // codes -most .. most - 1
  float* scales;  // [blocks]
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
  // Blocks of table values: the largest magnitude of each group, codes of E2M1 and of -1, 0 and 1.
  void (*peaks)(const float* x, int64_t groups, int32_t group, float* peaks);
  void (*e2m1)(const LevelRun& run);
  void (*trits)(const LevelRun& run);
  void (*scale_bytes)(const ByteRun& run);
  // AutoRound's, which give no codes: affine, each step measured after it is rounded again; symmetric; descent; the scale
  // of a range of candidates.
  void (*reround)(const GroupRun& run);
  void (*products)(const GroupRun& run);
  void (*descend_eight)(const GroupRun& run);
  void (*candidates)(const CandidateRun& run);
};

extern const Searches searches_ref;
extern const Searches searches_baseline;
#if defined(__x86_64__)
extern const Searches searches_avx2;
extern const Searches searches_avx512;
#endif

}  // namespace arkit::gguf_k
