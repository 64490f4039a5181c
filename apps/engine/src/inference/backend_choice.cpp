#include "inference/backend_choice.h"

#include <algorithm>

#include <arkit/str.h>

namespace arkit {

BackendChoice choose_backend(const LinearSpec& spec, const Registry& registry, const std::string& only) {
  const std::vector<std::string> names = only.empty() ? registry.names(Kind::backend) : std::vector<std::string>{only};
  BackendChoice choice;
  int best = 0;
  for (const std::string& name : names) {
    InferenceBackend& backend = registry.backend(name);
    const Availability here = backend.probe(host_info());
    const auto packings = backend.info().packings;
    const bool reads = packings.empty() || std::find(packings.begin(), packings.end(), spec.packing) != packings.end();
    Verdict verdict = Verdict::yes();
    if (here.score <= 0)
      verdict = Verdict::no(here.why_not);
    else if (!reads)
      verdict = Verdict::no(str("does not read packing '", spec.packing, "'"));
    else
      verdict = backend.supports(spec);
    if (!verdict) {
      choice.refusals.push_back(str(name, ": ", verdict.why_not));
    } else if (here.score > best) {
      best = here.score;
      choice.backend = &backend;
    }
  }
  return choice;
}

}  // namespace arkit
