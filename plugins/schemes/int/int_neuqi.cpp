#include "int_neuqi.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include "int_tensors.h"

namespace arkit::int_scheme {
namespace {

constexpr int64_t kCoarse = 64, kFine = 32;  // the reference's grid on a CPU

// Points of the search (docs/spec/rtn.md 6), as NeuqiGrid wants them.
struct Points {
  at::Tensor coarse, fine;

  Points(int bits, bool sym) {
    const double low = bits >= 4 ? 0.25 : bits == 3 ? 0.15 : 0.05, high = sym ? 2.0 : 1.0;
    coarse = at::logspace(std::log10(low), std::log10(high), kCoarse, 10.0, at::kFloat);
    fine = at::arange(1, kFine + 1, at::kFloat).div_(static_cast<double>(kFine + 1));
  }
  [[nodiscard]] NeuqiGrid grid() const {
    return {coarse.const_data_ptr<float>(), fine.const_data_ptr<float>(), int{kCoarse}, int{kFine}};
  }
};

// The scales as they are stored: in the scale's dtype and not below its floor, as f32.
at::Tensor stored(const at::Tensor& scale, Dtype dtype) {
  const at::ScalarType type = scalar_type(dtype);
  const at::Tensor rounded = scale.to(type);
  const double floor = search_floor(dtype);
  return at::where(rounded < 0, rounded.clamp_max(-floor), rounded.clamp_min(floor)).to(at::kFloat);
}

}  // namespace

SearchedGrid search_neuqi(const at::Tensor& weight, const TensorQuant& quant, const at::Tensor& imatrix) {
  const at::NoGradGuard no_grad;
  const Weight w = weight_of(weight, quant);
  const Points points(quant.bits, quant.sym);
  SearchedGrid found;
  found.scale = at::empty({w.shape.total()}, at::kFloat);
  if (!quant.sym) found.zero_point = at::empty({w.shape.total()}, at::kFloat);
  NeuqiArgs args;
  set_search(w, imatrix, true, args);
  args.sym = quant.sym;
  args.grid = points.grid();
  args.floor = search_floor(w.args.formula.scale);
  args.scale = found.scale.mutable_data_ptr<float>();
  if (!quant.sym) args.zero_point = found.zero_point.mutable_data_ptr<float>();
  const auto scratch = static_cast<size_t>(3 * ((args.groups.group + 15) / 16) * 16);
  at::parallel_for(0, w.shape.total(), std::max<int64_t>(1, 1024 / args.groups.group), [&](int64_t begin, int64_t end) {
    std::vector<float> buffer(scratch);
    NeuqiArgs mine = args;
    mine.scratch = buffer.data();
    kernels().neuqi(mine, begin, end);
  });
  return found;
}

QuantizedWeight quantize_neuqi(const at::Tensor& weight, const TensorQuant& quant, const at::Tensor& imatrix) {
  const SearchedGrid found = search_neuqi(weight, quant, imatrix);
  Weight w = weight_of(weight, quant);
  const at::Tensor scale = stored(found.scale, w.args.formula.scale);
  w.args.given_scale = scale.const_data_ptr<float>();
  if (found.zero_point.defined()) w.args.given_zero_point = found.zero_point.const_data_ptr<float>();
  return quantize(w);
}

void freeze_neuqi(const at::Tensor& weight, const TensorQuant& quant, const at::Tensor& imatrix,
                  sdk::WeightTuning& tuning) {
  const at::NoGradGuard no_grad;
  const SearchedGrid found = search_neuqi(weight, quant, imatrix);
  const at::Tensor scale = stored(found.scale, dtype_named(quant.scale_dtype));
  tuning.init_scale = scale;
  if (quant.sym) {
    // The side that gives the scale its sign has its whole magnitude, the other one half of it.
    const at::Tensor peak = scale.abs() * static_cast<double>(1 << (quant.bits - 1));
    tuning.weight_min.copy_(at::where(scale < 0, peak / -2, -peak));
    tuning.weight_max.copy_(at::where(scale < 0, peak, peak / 2));
    return;
  }
  const double steps = (1 << quant.bits) - 1;
  tuning.weight_min.copy_((found.zero_point * scale).neg_());
  tuning.weight_max.copy_((steps - found.zero_point) * scale);
}

}  // namespace arkit::int_scheme
