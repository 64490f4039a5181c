#include "tuning/global_scales.h"

#include <map>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include <arkit/str.h>

namespace arkit {

void share_global_scales(std::span<GlobalScaleMember> members) {
  std::map<std::string, std::vector<GlobalScaleMember*>> fused;
  for (GlobalScaleMember& member : members) {
    if (member.scheme == nullptr) continue;
    const TensorQuant& quant = member.plan->quant.weight;
    member.scale = member.scheme->global_scale(member.weight, quant);
    if (member.scale.defined() && !member.plan->fused_group.empty())
      fused[str(member.plan->fused_group, " ", quant.data_type)].push_back(&member);
  }
  for (auto& [name, group] : fused) {
    std::vector<at::Tensor> scales;
    for (const GlobalScaleMember* member : group) scales.push_back(member->scale);
    const at::Tensor common = group.front()->scheme->merge_global_scales(scales);
    if (!common.defined()) continue;  // the scheme lets each keep its own
    for (GlobalScaleMember* member : group) member->scale = common;
  }
}

}  // namespace arkit
