#pragma once
// The plan of an export that exists already: what was decided when it was made, read off its packed layers, so that
// another format can be asked to hold the same.

#include <string>
#include <vector>

#include <arkit/export.h>
#include <arkit/log.h>
#include <arkit/model_source.h>
#include <arkit/registry.h>

namespace arkit {

// What only the numbers of a packed layer tell. A config may say "symmetric" of layers whose zero points vary, and mlx
// does not say it at all.
struct LayerSurvey {
  const LinearSpec* spec = nullptr;
  bool zero_points = false;  // some are not in the middle
};

// One entry a packed layer, each read once. Throws ErrorCode::input naming a layer whose numbers are no weight: scales
// or what they make of codes not finite, codes or zero points out of range.
[[nodiscard]] ARKIT_INTERNAL std::vector<LayerSurvey> survey_layers(const ModelSource& source, const Registry& registry,
                                                                    Reporter& reporter);

// `shown` is `source` with every packed layer as a plain weight. The scheme most layers share is the plan's; layers
// with one group a row follow it whatever their group size says, and layers an asymmetric export leaves without zero
// points get the one in the middle.
[[nodiscard]] ARKIT_INTERNAL QuantPlan plan_of_export(const ModelSource& source, const ModelSource& shown,
                                                      const std::vector<LayerSurvey>& survey, const Registry& registry);

// `plan` with the first layer of each kind it has: all that a packer may ask of the plan of a layer it is handed,
// without going through a whole model for each of its layers.
[[nodiscard]] ARKIT_INTERNAL QuantPlan one_of_each(const QuantPlan& plan);

// The numbers of a layer as its plan states them.
[[nodiscard]] ARKIT_INTERNAL QuantizedWeight planned_weight(const ModelSource& source, const LayerPlan& layer);

}  // namespace arkit
