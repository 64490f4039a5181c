#pragma once
// Which backend runs a packed layer: each is asked, on the devices that are meant, and the highest score wins.

#include <filesystem>
#include <string>
#include <vector>

#include <arkit/inference_backend.h>
#include <arkit/registry.h>
#include <arkit/sdk/forwarding_source.h>

#include "inference/backend_catalogue.h"

namespace arkit {

// What a user says of it.
struct BackendWish {
  BackendWish() = default;
  BackendWish(std::string name, std::string on = {}, std::filesystem::path cache = {})
      : backend(std::move(name)), device(std::move(on)), prepared_cache(std::move(cache)) {}

  std::string backend;  // a backend, or a name that one stands in for; "" and "auto" = the best for each layer
  std::string device;   // "cpu", "cuda:1"; "" and "auto" = the best one
  std::filesystem::path prepared_cache;  // see prepared_cache.h; empty = none
  // A measurement: unless it is named, no backend that is approximate, so that figures are those of the export and not of
  // the machine.
  bool exact = false;
  std::string compute = "auto";  // "float": none that is approximate, not even by name; "int8": also for a measurement
};

// What a backend says of a layer.
struct BackendAnswer {
  std::string name;  // of the backend
  BackendVerdict verdict;
};

struct BackendChoice {
  InferenceBackend* backend = nullptr;  // null = none can
  BackendVerdict verdict;               // its
  bool exact = false;                   // LayerWeights::exact
  std::vector<BackendAnswer> answers;   // of all that were asked, the chosen one's first

  [[nodiscard]] std::vector<std::string> refusals() const;  // "name: reason"
};

// The layer as backends see it: without a rotation that the source has, which the model applies to their input.
[[nodiscard]] inline LinearSpec for_backends(LinearSpec spec, const ModelSource& source) {
  if (sdk::input_rotation(source, spec.name) != nullptr) spec.quant.rotation.clear();
  return spec;
}

class BackendChooser {
 public:
  // Both outlive it. Throws ErrorCode::unsupported for a name that nothing here stands in for, and for a device that no
  // backend has.
  BackendChooser(const Registry& registry, BackendWish wish, const std::vector<KnownBackend>& known = known_backends());

  [[nodiscard]] BackendChoice choose(const LinearSpec& layer) const;
  // The same, or ErrorCode::unsupported with the reasons of all that were asked.
  [[nodiscard]] BackendChoice choose_or_throw(const LinearSpec& layer) const;

  // Nobody named a backend.
  [[nodiscard]] bool automatic() const noexcept { return wish_.backend.empty(); }
  [[nodiscard]] const std::string& device() const noexcept { return wish_.device; }
  // Which backends were taken for the name that was given, and why; empty = it is the name of one.
  [[nodiscard]] const std::string& stand_in() const noexcept { return stand_in_; }

 private:
  void find_names();
  void check_device() const;

  const Registry& registry_;
  BackendWish wish_;
  const std::vector<KnownBackend>& known_;
  std::vector<std::string> names_;  // of the backends to be asked
  std::string stand_in_;
};

}  // namespace arkit
