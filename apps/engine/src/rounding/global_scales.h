#pragma once
// Layers that serving engines fuse into one product must agree on their global scale (docs/spec/floats.md 7).

#include <span>

#include <ATen/core/Tensor.h>

#include <arkit/descriptors.h>
#include <arkit/export.h>
#include <arkit/scheme.h>

namespace arkit {

struct GlobalScaleMember {
  const LayerPlan* plan = nullptr;
  const Scheme* scheme = nullptr;  // of the weight; null = none
  at::Tensor weight;
  at::Tensor scale;  // filled; undefined where the scheme has none
};

// `members`: the layers of one block. Throws ErrorCode::input naming both layers where the scale that one of them asks
// for costs another a quarter of its norm; not where that is `measured` anyway.
ARKIT_INTERNAL void share_global_scales(std::span<GlobalScaleMember> members, bool measured = false);

}  // namespace arkit
