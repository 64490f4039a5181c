#pragma once
// The layer between LibTorch tensors and the kernels: checks dtype, shape and contiguity, builds the kernels' argument
// structs and runs them over all groups on all threads.

#include <ATen/core/Tensor.h>

#include <arkit/sdk/group.h>
#include <arkit/sdk/kernel_tensors.h>
#include <arkit/sdk/signround_scheme.h>

#include "kernels/int_kernels.h"

namespace arkit::int_scheme {

using sdk::dtype_of;
using sdk::f32_data;
using sdk::WeightGradient;
using sdk::WeightTuning;

[[nodiscard]] at::ScalarType scalar_type(Dtype dtype);

// "float16", "bfloat16" or "float32"; throws ErrorCode::unsupported on another name.
[[nodiscard]] Dtype dtype_named(const std::string& name);

[[noreturn]] void refuse_not_finite();  // ErrorCode::input

// A weight ready for the kernels. Keeps no tensor alive.
struct Weight {
  WeightArgs args;
  sdk::GroupShape shape;
  at::ScalarType dtype{};
};
[[nodiscard]] Weight weight_of(const at::Tensor& weight, const TensorQuant& quant);

// The rule that quant.observer names; full_range for every other observer.
[[nodiscard]] ScaleRule rule_of(const TensorQuant& quant);

// The same with what is tuned; checks every shape in `tuning`.
[[nodiscard]] Weight weight_of(const at::Tensor& weight, const WeightTuning& tuning, const TensorQuant& quant);

// Sets tuning.weight_min and weight_max. Throws ErrorCode::input when the weight holds a NaN or an infinity.
void measure_range(const Weight& weight, WeightTuning& tuning);

// The least scale a search may give, not yet in a dtype of its own.
float search_floor(Dtype scale);

// What every search over `weight` needs to know: all of `args` but floor, scratch and what comes out. `imatrix` f32
// [in], undefined = uniform; it must outlive `args`.
void set_search(const Weight& weight, const at::Tensor& imatrix, bool repair, SearchArgs& args);

// docs/spec/rtn.md 4: the best scale of every group, f32 [n_groups], representable in the weight's dtype.
[[nodiscard]] at::Tensor search_scale(const Weight& weight, const at::Tensor& imatrix, bool repair);

// Codes, scale [out, per_row] and zero point. Throws ErrorCode::input when the weight holds a NaN or an infinity.
[[nodiscard]] QuantizedWeight quantize(const Weight& weight);

void fake_quant(const Weight& weight, at::Tensor& out);
void backward(const Weight& weight, const WeightTuning& tuning, const at::Tensor& grad_out, WeightGradient& gradient);
[[nodiscard]] at::Tensor dequantize(const QuantizedWeight& weight, const TensorQuant& quant, at::ScalarType dtype);

}  // namespace arkit::int_scheme
