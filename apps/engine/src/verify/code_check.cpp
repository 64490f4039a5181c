#include "verify/code_check.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

namespace arkit {
namespace {

// What may lie between a number and its neighbouring code beyond a step: weights are rounded to bf16 before they are
// quantized (2^-9 of their size, twice to be safe), scales to their own type after it (a few hundredths of a step).
constexpr double kBf16 = 1.0 / 256.0;
constexpr double kStepSlack = 0.06;
constexpr double kFp8 = 1.0 / 16.0;  // integers of 8-bit floats: half a step of e4m3, relative to the number
// Groups whose scale is too small for its type are stored as zeros: below this share of the largest number.
constexpr double kUnderflow = 1e-5;
// A group may be worse than zeros by what rounding adds where nearly all of it is smaller than half a step.
constexpr double kWorse = 1.1;
constexpr int64_t kWholeGrid = 512;  // places; no type here has more

// Decoded, too, its places are equally far apart: no rounding to another type on the way.
bool decodes_evenly(const TensorQuant& quant) {
  return quant.data_type.starts_with("int") || quant.data_type == "mx_uint";
}

bool is_even_grid(const TensorQuant& quant) {
  return quant.data_type.starts_with("int") || quant.data_type == "mx_uint" ||
         quant.data_type.starts_with("fp8_to_int");
}

// What the last code of a grid without equal steps stands for at a scale of 1 (docs/spec/floats.md 2 to 5).
double largest_element(const TensorQuant& quant) {
  if (quant.data_type.find("int") != std::string::npos) return 1.75;  // fixed point
  return quant.bits == 4 ? 6.0 : 448.0;
}

// Bytes that hold a sign above a magnitude of `bits` - 1 bits, whose order is that of the numbers.
at::Tensor signed_places(const at::Tensor& bytes, int bits) {
  const int64_t sign = int64_t{1} << (bits - 1);
  const at::Tensor code = bytes.to(at::kInt);
  const at::Tensor magnitude = code.bitwise_and(sign - 1);
  return at::where(code.bitwise_and(sign).ne(0), magnitude.neg(), magnitude);
}

at::Tensor bytes_of(const at::Tensor& places, int bits) {
  const int64_t sign = int64_t{1} << (bits - 1);
  return at::where(places.lt(0), places.neg().add(sign), places).to(at::kByte);
}

// The same weight with every code `by` places further along its grid, where it has one.
std::optional<at::Tensor> moved(const QuantizedWeight& weight, const TensorQuant& quant, int64_t by) {
  const at::Tensor& codes = weight.codes;
  if (codes.scalar_type() == at::kByte && is_even_grid(quant))
    return codes.to(at::kInt).add(by).clamp(0, (int64_t{1} << quant.bits) - 1).to(at::kByte);
  if (codes.scalar_type() == at::kByte && quant.bits == 4) {
    const int64_t top = 7;
    return bytes_of(signed_places(codes, 4).add(by).clamp(-top, top), 4);
  }
  if (codes.scalar_type() == at::kFloat8_e4m3fn) {
    const int64_t top = 126;  // 127 is NaN
    return bytes_of(signed_places(codes.view(at::kByte), 8).add(by).clamp(-top, top), 8).view(at::kFloat8_e4m3fn);
  }
  return std::nullopt;
}

}  // namespace

double worse_than_zeros(const at::Tensor& weight, const at::Tensor& dequantized, int64_t group) {
  const int64_t out = weight.size(0), in = weight.size(1);
  const int64_t size = group > 0 ? std::min(group, in) : in;
  if (size < kSmallestGroup || weight.numel() == 0) return 0.0;
  const int64_t whole = in / size * size;  // a last group that is cut short is left out
  const auto norms = [&](const at::Tensor& values) {
    return values.narrow(1, 0, whole).reshape({out, -1, size}).square().sum(-1);
  };
  const at::Tensor error = norms(weight - dequantized), own = norms(weight);
  return error.gt(own * (kWorse * kWorse)).to(at::kFloat).mean().item<double>();
}

std::optional<CodeFigures> code_figures(const at::Tensor& weight, const QuantizedWeight& quantized,
                                        const TensorQuant& quant, const Scheme& scheme, double reach,
                                        const at::Tensor& dequantized) {
  const auto last_codes = moved(quantized, quant, kWholeGrid), first_codes = moved(quantized, quant, -kWholeGrid);
  if (!last_codes || !first_codes) return std::nullopt;
  const auto decoded = [&](const at::Tensor& codes) {
    QuantizedWeight neighbour = quantized;
    neighbour.codes = codes;
    return scheme.dequantize(neighbour, quant, at::kFloat);
  };
  const at::Tensor got = dequantized.defined() ? dequantized : decoded(quantized.codes);
  const at::Tensor last = decoded(*last_codes), first = decoded(*first_codes);
  // The last code of a grid stands for everything beyond it: tuning may cut the range of a group.
  const at::Tensor whole = weight.to(at::kFloat);
  const at::Tensor wanted = at::minimum(at::maximum(whole, at::minimum(first, last)), at::maximum(first, last));
  // Decoding costs most here, so a grid of equal steps is asked for its ends only.
  const at::Tensor step = decodes_evenly(quant) ? (last - first).abs_().div_(std::pow(2.0, quant.bits) - 1.0)
                                                : at::maximum((decoded(*moved(quantized, quant, 1)) - got).abs(),
                                                              (decoded(*moved(quantized, quant, -1)) - got).abs());
  const double floor = kUnderflow * whole.abs().max().item<double>();
  const double before = quant.data_type.starts_with("fp8_to_int") ? kFp8 : kBf16;
  const at::Tensor moved_by = is_even_grid(quant) ? step * reach : last.abs() * (reach / largest_element(quant));
  const at::Tensor stray = (wanted - got).abs().gt(step * (0.5 + kStepSlack) + moved_by + whole.abs() * before + floor);
  CodeFigures figures{.strays = stray.to(at::kFloat).mean().item<double>()};
  const bool scattered = quantized.group_index.defined();
  figures.worse_groups = worse_than_zeros(whole, got, scattered ? 0 : quant.group_size);
  return figures;
}

}  // namespace arkit
