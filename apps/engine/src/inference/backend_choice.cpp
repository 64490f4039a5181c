#include "inference/backend_choice.h"

#include <arkit/str.h>

namespace arkit {

BackendChoice choose_backend(const LinearSpec& spec, const Registry& registry, const std::string& only) {
  const std::vector<std::string> names = only.empty() ? registry.names(Kind::backend) : std::vector<std::string>{only};
  BackendChoice choice;
  for (const std::string& name : names) {
    InferenceBackend& backend = registry.backend(name);
    const BackendVerdict verdict = backend.supports(spec);
    if (!verdict) {
      choice.refusals.push_back(str(name, ": ", verdict.why_not));
    } else if (verdict.score > choice.verdict.score) {
      choice.verdict = verdict;
      choice.backend = &backend;
    }
  }
  return choice;
}

}  // namespace arkit
