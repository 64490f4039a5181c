#pragma once
// Are the codes of a layer those that rounding its source gives, tuned or not? Independent of how large errors are.

#include <optional>

#include <ATen/core/Tensor.h>

#include <arkit/descriptors.h>
#include <arkit/scheme.h>

namespace arkit {

// How far tuning moved a number before it was rounded (V of docs/spec/signround.md 1): in steps of an integer grid, in
// units of the scale for floats and fixed point. 0 = plain rounding.
inline constexpr double kUsualReach = 0.5;

// Of smaller groups one sign happens by chance, and so does being worse than zeros.
inline constexpr int64_t kSmallestGroup = 16;

struct CodeFigures {
  double strays = 0.0;        // share of codes that rounding of this kind does not give
  double worse_groups = 0.0;  // share of groups that would be nearer to the source if they were all zero
};

// `weight` [out, in] of the source, in any float type; `dequantized` is what the codes stand for in float32, where it
// is known already. nullopt for codes of a kind that is not known here.
[[nodiscard]] std::optional<CodeFigures> code_figures(const at::Tensor& weight, const QuantizedWeight& quantized,
                                                      const TensorQuant& quant, const Scheme& scheme, double reach,
                                                      const at::Tensor& dequantized = {});

// The share of groups of `group` numbers along a row (0 = the whole row) that are no nearer to the source than zeros.
[[nodiscard]] double worse_than_zeros(const at::Tensor& weight, const at::Tensor& dequantized, int64_t group);

}  // namespace arkit
