#pragma once
// Loops over the elements of an integer-quantized weight. No LibTorch here; int_tensors.cpp is the layer above.
//
// Every kernel exists as slow reference (int_kernels_ref.cpp) and in one fast source compiled for several instruction
// sets (int_kernels_impl.h); all give the same bits. Sums are defined by their order: element i of a group goes to
// partial sum i % 16, and the 16 partial sums are added by halving (l += l + 8, then 4, 2, 1).
//
// Letters as in docs/spec/integers.md 1 and 2: s scale, zp zero point, q code without offset, u = W / s, r = round(u +
// V).

#include <cstdint>

#include <arkit/sdk/kernels.h>

namespace arkit::int_scheme {

using sdk::Dtype;
using sdk::Groups;

// How the scale of a symmetric weight follows from its range: docs/spec/integers.md 2, and 5 for int_sym_gptq
// and mx_uint, whose power of two is floored at the least that its dtype holds.
enum class ScaleRule : uint8_t { full_range, gptq, power_of_two };

struct Formula {
  int bits = 4;
  bool sym = true;
  Dtype weight = Dtype::f32;
  Dtype scale = Dtype::f16;  // the scale is rounded to this, then floored at 1e-5 (1e-8 for f32)
  ScaleRule rule = ScaleRule::full_range;
};

// Inputs of a weight's quantization. Null pointers: v = 0; scales = 1 with the range kept in the weight's dtype (the
// reference's 0-dim scales); ranges computed from the weight.
struct WeightArgs {
  Formula formula;
  Groups groups;
  const void* weight = nullptr;  // [out, in]
  const float* v = nullptr;      // [n_groups, group]
  // [n_groups], both or neither unless init_scale is given
  const float* min_scale = nullptr;
  const float* max_scale = nullptr;
  const float* init_scale = nullptr;  // [n_groups]: s = init_scale * max_scale, range unused (sym only)
  const void* weight_min = nullptr;   // [n_groups] in the weight's dtype
  const void* weight_max = nullptr;
  // [n_groups]: final scale, already rounded. Of the above only v is used then, and for asymmetric weights without a
  // zero point beside it weight_min = -zp s and weight_max = (2^bits - 1 - zp) s, which give zp again though they are
  // rounded. The gradient of such a scale is not asked for.
  const float* given_scale = nullptr;
  const float* given_zero_point = nullptr;
};

struct CodesOut {
  uint8_t* codes = nullptr;     // [out, in]
  void* scale = nullptr;        // [n_groups] in formula.scale
  float* zero_point = nullptr;  // [n_groups]; null for sym
};

struct BackwardArgs {
  const void* grad_out = nullptr;  // [out, in]
  Dtype grad_dtype = Dtype::f32;
  float* grad_v = nullptr;          // null = not wanted
  float* grad_min_scale = nullptr;  // null = not wanted
  float* grad_max_scale = nullptr;
  bool accumulate_v = false;  // add to what is there, or overwrite
  bool accumulate_scale = false;
};

struct SearchArgs {
  int bits = 4;
  Dtype weight_dtype = Dtype::f32;
  Groups groups;
  const void* weight = nullptr;
  const float* imatrix = nullptr;  // [in]; null = uniform
  bool repair = false;             // apply docs/spec/rtn.md 3 to it (only when it holds a zero)
  float floor = 1e-5F;             // smallest |s|, already rounded to the weight's dtype
  float* scratch = nullptr;        // 2 * round_up(group, 16) floats, private to the thread
  float* scale = nullptr;          // out [n_groups], values representable in the weight's dtype
};

// Where docs/spec/rtn.md 6 looks: `coarse` parts of the scale without clipping, in ascending order, then `fine` points
// between the neighbours of the best of them, lo * (1 - t) + hi * t.
struct NeuqiGrid {
  const float* coarse = nullptr;
  const float* fine = nullptr;
  int coarse_count = 0, fine_count = 0;
};

// SearchArgs with `floor` and `scale` in f32 whatever the weight's dtype, and scratch for three such arrays.
struct NeuqiArgs : SearchArgs {
  bool sym = true;
  NeuqiGrid grid;
  float* zero_point = nullptr;  // out [n_groups]; null for sym, whose scale is negative where the range is mirrored
};

struct DequantArgs {
  Groups groups;
  const uint8_t* codes = nullptr;
  const void* scale = nullptr;
  Dtype scale_dtype = Dtype::f16;
  const float* zero_point = nullptr;  // null: `offset` for every group
  float offset = 0;
  void* out = nullptr;
  Dtype out_dtype = Dtype::f32;
};

// One implementation of all kernels; each works on the groups [begin, end).
struct Kernels {
  const char* name;
  // min(group, 0) and max(group, 0) in the weight's dtype. False when a NaN or an infinity was met.
  bool (*group_range)(const void* weight, Dtype dtype, const Groups& groups, int64_t begin, int64_t end, void* min,
                      void* max);
  void (*fake_quant)(const WeightArgs& args, void* out, Dtype out_dtype, int64_t begin, int64_t end);
  // Codes with the offset included (0..2^bits-1). False when a NaN or an infinity was met in the weight.
  bool (*quantize)(const WeightArgs& args, const CodesOut& out, int64_t begin, int64_t end);
  void (*backward)(const WeightArgs& args, const BackwardArgs& grad, int64_t begin, int64_t end);
  void (*search)(const SearchArgs& args, int64_t begin, int64_t end);
  void (*neuqi)(const NeuqiArgs& args, int64_t begin, int64_t end);
  void (*dequantize)(const DequantArgs& args, int64_t begin, int64_t end);
};

extern const Kernels kernels_ref, kernels_baseline, kernels_avx2, kernels_avx512;

// The fastest one this CPU can run.
[[nodiscard]] const Kernels& kernels() noexcept;
[[nodiscard]] bool cpu_runs(const Kernels& kernels) noexcept;

}  // namespace arkit::int_scheme
