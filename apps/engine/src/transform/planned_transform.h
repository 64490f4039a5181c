#pragma once
// Transforms in a plan: where each of them will look for scales.

#include <string>
#include <vector>

#include <arkit/descriptors.h>
#include <arkit/json.h>
#include <arkit/model_adapter.h>
#include <arkit/model_source.h>
#include <arkit/registry.h>
#include <arkit/transform.h>

#include "transform/algs.h"

namespace arkit {

struct PlannedTransform {
  const Transform* transform = nullptr;  // of the registry
  std::string name;
  json::Object settings;
  std::vector<ScalePlace> places;  // in block order
  std::vector<std::string> notes;  // places left out, and why
};

// Throws ErrorCode::unsupported naming the transform when the model has no place for it.
[[nodiscard]] std::vector<PlannedTransform> plan_transforms(const Algs& algs, const ModelSource& source,
                                                            const QuantPlan& plan, const Registry& registry);

// As --dry-run shows it.
[[nodiscard]] json::Array describe(const std::vector<PlannedTransform>& transforms);

}  // namespace arkit
