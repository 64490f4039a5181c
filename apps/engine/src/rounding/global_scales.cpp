#include "rounding/global_scales.h"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/str.h>

#include "rounding/strip_rounding.h"
#include "rounding/usable_numbers.h"
#include "util/naming_layer.h"

namespace arkit {
namespace {

// Scales of groups below a shared one become coarse, and then zero. Rounding to 4-bit floats costs a tenth of the norm
// of a layer; this is more than twice that.
constexpr double kMostLost = 0.25;
// Nothing is lost to a scale that is nearly the layer's own: those of groups span more powers of two than these.
constexpr double kHarmless = 64.0;

// How many times one scale is the other.
double apart(const at::Tensor& a, const at::Tensor& b) {
  const double x = a.item<double>(), y = b.item<double>();
  return x > 0.0 && y > 0.0 ? std::max(x / y, y / x) : 1.0;
}

double error_under(const GlobalScaleMember& member, const at::Tensor& global) {
  return plugins::naming_layer(member.plan->name, [&] {
    const TensorQuant& quant = member.plan->quant.weight;
    const QuantizedWeight rounded = member.scheme->quantize_rtn(member.weight, quant, RtnMode::plain, {}, 0, global);
    return relative_error(member.weight, member.scheme->dequantize(rounded, quant, member.weight.scalar_type()));
  });
}

void require_shareable(const std::vector<GlobalScaleMember*>& group, const at::Tensor& common) {
  for (const GlobalScaleMember* member : group) {
    if (apart(member->scale, common) < kHarmless) continue;
    if (member->weight.abs().max().item<double>() < kNegligibleWeight) continue;
    const double lost = error_under(*member, common);
    if (lost < kMostLost || error_under(*member, member->scale) >= lost) continue;
    const auto asking = std::find_if(group.begin(), group.end(),
                                     [&](const GlobalScaleMember* other) { return other->scale.equal(common); });
    const std::string& other = asking == group.end() ? member->plan->fused_group : (*asking)->plan->name;
    throw_input(str("layer '", printable(member->plan->name), "': loses ", lost,
                    " of its norm to the global scale that '", printable(other), "' asks for and it must share, ",
                    apart(member->scale, common), " times off its own, expected to lose less than ", kMostLost,
                    "; keep both in 16 bits (--ignore_layers) or choose a scheme without a global scale"));
  }
}

}  // namespace

void share_global_scales(std::span<GlobalScaleMember> members, bool measured) {
  std::map<std::string, std::vector<GlobalScaleMember*>> fused;
  for (GlobalScaleMember& member : members) {
    if (member.scheme == nullptr) continue;
    const TensorQuant& quant = member.plan->quant.weight;
    member.scale =
        plugins::naming_layer(member.plan->name, [&] { return member.scheme->global_scale(member.weight, quant); });
    if (member.scale.defined() && !member.plan->fused_group.empty())
      fused[str(member.plan->fused_group, " ", quant.data_type)].push_back(&member);
  }
  for (auto& [name, group] : fused) {
    std::vector<at::Tensor> scales;
    for (const GlobalScaleMember* member : group) scales.push_back(member->scale);
    const at::Tensor common = group.front()->scheme->merge_global_scales(scales);
    if (!common.defined()) continue;  // the scheme lets each keep its own
    if (!measured) require_shareable(group, common);
    for (GlobalScaleMember* member : group) member->scale = common;
  }
}

}  // namespace arkit
