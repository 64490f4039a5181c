#include "transform/planned_transform.h"

#include <arkit/engine/open_source.h>
#include <arkit/error.h>
#include <arkit/model_adapter.h>
#include <arkit/str.h>

#include "transform/scale_places.h"

namespace arkit {

std::vector<PlannedTransform> plan_transforms(const Algs& algs, const ModelSource& source, const QuantPlan& plan,
                                              const Registry& registry) {
  std::vector<PlannedTransform> planned;
  if (algs.transforms.empty()) return planned;
  const std::vector<ScalePlace> places = scale_places(source, adapter_for(source, registry).layout(source));
  for (const AlgChoice& choice : algs.transforms) {
    const Transform& transform = registry.transform(choice.name);
    PlannedTransform& one = planned.emplace_back();
    one = {.transform = &transform, .name = choice.name, .settings = choice.settings, .places = {}, .notes = {}};
    for (const ScalePlace& place : places) {
      if (const Verdict wanted = transform.wants(place, plan))
        one.places.push_back(place);
      else
        one.notes.push_back(str("'", place.from, "': ", wanted.why_not));
    }
    if (!one.places.empty()) continue;
    throw_unsupported(str(
        "'", choice.name, "' has nothing to do in this plan: ",
        places.empty() ? "the inputs of all layers are turned at run time, and scales cannot come past that; fuse the "
                         "rotation into the weights ('arkit quantize --help')"
                       : one.notes.front(),
        "; leave '", choice.name, "' out of algs"));
  }
  return planned;
}

json::Array describe(const std::vector<PlannedTransform>& transforms) {
  json::Array described;
  for (const PlannedTransform& one : transforms) {
    json::Array notes;
    for (const std::string& note : one.notes) notes.emplace_back(note);
    described.push_back(json::Object{
        {"name", one.name}, {"settings", one.settings}, {"places", one.places.size()}, {"left", std::move(notes)}});
  }
  return described;
}

}  // namespace arkit
