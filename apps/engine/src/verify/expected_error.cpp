#include "verify/expected_error.h"

#include <algorithm>
#include <cmath>

namespace arkit {
namespace {

// A step of an even grid spans 2 max / (2^bits - 1), and an error within a step has its width / sqrt(12). The largest
// of g normal numbers is near sqrt(2 ln 2g) of their deviation.
double of_even_grid(int bits, double group) {
  const double largest = std::sqrt(2.0 * std::log(2.0 * group));
  return 2.0 * largest / (std::pow(2.0, bits) - 1.0) / std::sqrt(12.0);
}

// A float with m mantissa bits has steps of 2^-m of the power of two below the number.
double of_float(int mantissa) {
  return std::pow(2.0, -mantissa) / std::sqrt(12.0);
}

bool is_float(const TensorQuant& quant) {
  const std::string_view type = quant.data_type;
  return type.find("fp") != std::string_view::npos && type.find("int") == std::string_view::npos;
}

// e2m1, e5m2 and e3m2, e4m3 and e2m3: the types in use.
int mantissa_bits(const TensorQuant& quant) {
  if (quant.bits <= 4) return 1;
  return quant.data_type.ends_with("m2") ? 2 : 3;
}

}  // namespace

double expected_error(const TensorQuant& quant, int64_t features) {
  if (!quant.quantized()) return 0.0;
  if (is_float(quant)) return of_float(mantissa_bits(quant));
  const int64_t group = quant.group_size > 0 ? std::min(quant.group_size, features) : features;
  return of_even_grid(quant.bits, static_cast<double>(std::max<int64_t>(group, 1)));
}

double expected_error(const LinearSpec& layer) {
  return std::hypot(expected_error(layer.quant.weight, layer.in_features),
                    expected_error(layer.quant.act, layer.in_features));
}

}  // namespace arkit
