#include "mx_fp_scheme.h"

#include <array>
#include <vector>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::mx_fp {
namespace {

constexpr std::array<std::string_view, 5> kDataTypes = {"mx_fp", "mx_fp_rceil", "mx_fp_rceil_v2", "mx_fp6e3m2",
                                                        "mx_fp8e5m2"};
constexpr SchemeInfo kInfo = {"mx_fp", "microscaling floats of 4, 6 and 8 bits, a power-of-two scale per 32 values",
                              kDataTypes};

std::vector<Preset> make_presets() {
  std::vector<Preset> presets;
  for (const int bits : {4, 6, 8})
    presets.push_back(sdk::microscaling_preset(
        str("MXFP", bits), str(bits, "-bit microscaling floats, weights and activations"), "mx_fp", bits, 32, "mx_fp"));
  for (const int bits : {4, 8})
    presets.push_back(sdk::microscaling_preset(
        str("MXFP", bits, "_RCEIL"), str("MXFP", bits, " whose activation scales round up, so that nothing saturates"),
        "mx_fp", bits, 32, "mx_fp_rceil"));
  return presets;
}

}  // namespace

const SchemeInfo& MxFpScheme::info() const noexcept {
  return kInfo;
}

std::span<const Preset> MxFpScheme::presets() const {
  static const std::vector<Preset> all = make_presets();
  return all;
}

Verdict MxFpScheme::supports_elements(const TensorQuant& quant, std::string_view what) const {
  const std::string& type = quant.data_type;
  if (type == "mx_fp6e3m2" || type == "mx_fp8e5m2") {
    const int bits = type == "mx_fp6e3m2" ? 6 : 8;
    if (quant.bits != bits)
      return Verdict::no(str(what, " data_type '", type, "' has ", bits, " bits, not ", quant.bits));
    return Verdict::yes();
  }
  if (type != "mx_fp" && type != "mx_fp_rceil" && type != "mx_fp_rceil_v2")
    return Verdict::no(str(what, " data_type '", type, "' is not a microscaling float"));
  if (quant.bits != 4 && quant.bits != 6 && quant.bits != 8)
    return Verdict::no(str(what, " bits ", quant.bits, " is not possible with '", type, "'; choose 4, 6 or 8"));
  return Verdict::yes();
}

sdk::ElementRule MxFpScheme::element_rule(const TensorQuant& quant) const {
  sdk::ElementRule rule{.grid = sdk::kE2m1, .follow_grid = true, .signed_zero = true};
  if (quant.data_type == "mx_fp6e3m2")
    rule.grid = sdk::kE3m2;
  else if (quant.data_type == "mx_fp8e5m2")
    rule.grid = sdk::kE5m2;
  else if (quant.bits == 6)
    rule.grid = sdk::kE2m3;
  else if (quant.bits == 8)
    rule.grid = sdk::kE4m3;
  return rule;
}

// "mx_fp_rceil_v2" lets magnitudes up to 7.25 saturate to 6 (arXiv 2607.24377).
float MxFpScheme::ceil_limit(const TensorQuant& quant) const {
  if (quant.data_type == "mx_fp_rceil") return element_rule(quant).grid.max;
  return quant.data_type == "mx_fp_rceil_v2" ? 7.25F : 0.0F;
}

}  // namespace arkit::mx_fp
