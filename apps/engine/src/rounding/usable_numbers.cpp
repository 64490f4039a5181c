#include "rounding/usable_numbers.h"

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/str.h>

#include "quant/scheme_resolver.h"
#include "util/finite.h"

namespace arkit {
namespace {

// Of the norm: what plain rounding never loses, unless all codes are zero.
constexpr double kEverything = 0.99;

[[noreturn]] void refuse(std::string_view layer, std::string_view what) {
  throw_input(str("layer '", printable(layer), "': ", what,
                  "; keep it in 16 bits (--ignore_layers) or choose a scheme with a wider range"));
}

bool finite(const at::Tensor& numbers) {
  return !numbers.defined() || !at::isFloatingType(numbers.scalar_type()) ||
         io::is_finite(numbers.to(at::kFloat).contiguous());
}

}  // namespace

void require_finite_result(std::string_view layer, const at::Tensor& dequantized) {
  if (!io::is_finite(dequantized.contiguous()))
    refuse(layer, "its weights are beyond what the scales of its scheme can hold");
}

void require_usable_scales(const LayerRecord& layer) {
  const QuantizedWeight& weight = layer.quantized;
  const std::string& name = layer.plan.name;
  if (!finite(weight.scale) || !finite(weight.zero_point))
    refuse(name, str("a scale of ", describe(layer.plan.quant), " is not finite in ",
                     c10::toString(weight.scale.scalar_type()), " (its weights are too large)"));
  const at::Tensor& global = weight.global_scale;
  if (!finite(global) || (global.defined() && global.eq(0).any().item<bool>()))
    refuse(name, "its global scale is zero or not finite");
  if (!finite(layer.act_max)) refuse(name, "the calibrated range of its inputs is not finite");
}

void require_something_left(const LayerPlan& layer, double relative_error,
                            const std::function<double()>& largest_weight, Reporter& reporter) {
  if (relative_error < kEverything) return;
  const double largest = largest_weight();
  if (largest < kNegligibleWeight) {
    reporter.warn(str("layer '", printable(layer.name), "': its weights, at most ", largest, ", are written as zeros"));
    return;
  }
  refuse(layer.name, str("rounded to ", describe(layer.quant), ", it differs by ", relative_error,
                         " of its norm: its weights, at most ", largest,
                         ", are below the smallest scales, or tuning went astray (a lower --lr, more --iters)"));
}

}  // namespace arkit
