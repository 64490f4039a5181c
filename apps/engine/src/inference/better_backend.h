#pragma once
// "A better backend exists": one that would run layers of a model with a higher score, if a step was taken.

#include <filesystem>
#include <string>
#include <vector>

#include <arkit/descriptors.h>
#include <arkit/registry.h>

#include "inference/backend_catalogue.h"

namespace arkit {

struct ScoredLayer {
  const LayerQuant* quant;
  int score;  // of the backend that runs it
};

// One line with the step, or "". Only what the user can do something about: a backend whose hardware is in the machine,
// and which is for the kind of device that was asked for (`device` as of BackendWish). `bus` as of has_hardware.
[[nodiscard]] std::string better_backend(const std::vector<ScoredLayer>& layers, const Registry& registry,
                                         const std::vector<KnownBackend>& known, const std::string& device,
                                         const std::filesystem::path& bus = "/sys/bus/pci/devices");

}  // namespace arkit
