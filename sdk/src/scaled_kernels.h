#pragma once
// Loops over values that are stored as small-format elements times a scale a group: y = scale * round(x / scale + v).
// No LibTorch here; scaled_tensors.cpp is the layer above. One source (scaled_kernels_impl.h) is compiled for several
// instruction sets; all give the same bits. Sums: element i of a group goes to partial sum i % 16, the 16 partial sums
// are added by halving.

#include <cstdint>

#include <arkit/sdk/element_grid.h>
#include <arkit/sdk/kernels.h>

namespace arkit::sdk::scaled {

struct Args {
  ElementGrid grid;
  Groups groups;
  const void* x = nullptr;
  Dtype dtype = Dtype::f32;
  const float* scale = nullptr;    // [n_groups]
  const float* inverse = nullptr;  // [n_groups]: x * inverse instead of x / scale; null = divide
  const float* v = nullptr;        // [n_groups, group]; null = 0
  bool narrow_quotient = false;    // x / scale is rounded to `dtype`
  bool follow_grid = false;        // gradient of an element: element / t for normal numbers instead of 1
};

struct GradientArgs {
  const void* grad_out = nullptr;
  Dtype grad_dtype = Dtype::f32;
  float* grad_v = nullptr;  // [n_groups, group]; null = not wanted
  bool accumulate_v = false;
  float* grad_scale = nullptr;  // [n_groups], overwritten; null = not wanted
  void* grad_x = nullptr;       // in grad_dtype, overwritten; null = not wanted
};

struct DecodeArgs {
  ElementGrid grid;
  Groups groups;
  const uint8_t* codes = nullptr;
  const float* scale = nullptr;
  void* out = nullptr;
  Dtype out_dtype = Dtype::f32;
};

// One implementation of all kernels; each works on the groups [begin, end).
struct Kernels {
  const char* name;
  // max |x| of every group. False when a NaN or an infinity was met.
  bool (*peaks)(const void* x, Dtype dtype, const Groups& groups, int64_t begin, int64_t end, float* peak);
  void (*fake_quant)(const Args& args, void* out, Dtype out_dtype, int64_t begin, int64_t end);
  void (*encode)(const Args& args, bool signed_zero, uint8_t* codes, int64_t begin, int64_t end);
  void (*gradient)(const Args& args, const GradientArgs& grad, int64_t begin, int64_t end);
  // Which of `count` scales makes the sum over a group of importance (y - x)^2 smallest, the first of equals: best[i].
  // Candidate c of group i has args.scale[c * (end - begin) + i - begin], inverse alike; `best` starts at group begin.
  // Row r of importance starts at r * stride; null = 1.
  void (*choose)(const Args& args, const float* importance, int64_t stride, int64_t count, int32_t* best, int64_t begin,
                 int64_t end);
  void (*decode)(const DecodeArgs& args, int64_t begin, int64_t end);
};

extern const Kernels kernels_baseline, kernels_avx2, kernels_avx512;
[[nodiscard]] bool cpu_runs(const Kernels& kernels) noexcept;
// The best this CPU runs.
[[nodiscard]] const Kernels& kernels() noexcept;

}  // namespace arkit::sdk::scaled
