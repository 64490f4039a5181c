#pragma once
// Which backend runs a packed layer: supports() of every registered one, highest score first.

#include <string>
#include <vector>

#include <arkit/inference_backend.h>
#include <arkit/registry.h>
#include <arkit/sdk/forwarding_source.h>

namespace arkit {

struct BackendChoice {
  InferenceBackend* backend = nullptr;  // null = none can
  BackendVerdict verdict;               // its
  std::vector<std::string> refusals;    // "name: reason" of every other one that was asked and said no
};

// The layer as backends see it: without a rotation that the source has, which the model applies to their input.
[[nodiscard]] inline LinearSpec for_backends(LinearSpec spec, const ModelSource& source) {
  if (sdk::input_rotation(source, spec.name) != nullptr) spec.quant.rotation.clear();
  return spec;
}

// `only` names the one backend to consider; empty = all. Throws ErrorCode::unsupported for an unknown name.
[[nodiscard]] BackendChoice choose_backend(const LinearSpec& spec, const Registry& registry, const std::string& only);

}  // namespace arkit
