#include "mx_int_scheme.h"

#include <array>
#include <vector>

#include <ATen/ATen.h>

#include <arkit/str.h>

namespace arkit::mx_int {
namespace {

constexpr std::array<std::string_view, 1> kDataTypes = {"mx_int"};
constexpr SchemeInfo kInfo = {"mx_int", "microscaling integers, a power-of-two scale per 32 values", kDataTypes};

}  // namespace

const SchemeInfo& MxIntScheme::info() const noexcept {
  return kInfo;
}

std::span<const Preset> MxIntScheme::presets() const {
  static const std::vector<Preset> all = {sdk::microscaling_preset(
      "MXINT4", "4-bit microscaling integers, weights and activations", "mx_int", 4, 32, "mx_int")};
  return all;
}

Verdict MxIntScheme::supports_elements(const TensorQuant& quant, std::string_view what) const {
  if (quant.data_type != "mx_int") return Verdict::no(str(what, " data_type '", quant.data_type, "' is not 'mx_int'"));
  if (quant.bits != 2 && quant.bits != 4 && quant.bits != 8)
    return Verdict::no(str(what, " bits ", quant.bits, " is not possible with 'mx_int'; choose 2, 4 or 8"));
  return Verdict::yes();
}

sdk::ElementRule MxIntScheme::element_rule(const TensorQuant& quant) const {
  return {.grid = sdk::fixed_point_grid(quant.bits), .signed_zero = true};
}

}  // namespace arkit::mx_int
