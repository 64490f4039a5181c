#include "inference/better_backend.h"

#include <algorithm>

#include <arkit/inference_backend.h>
#include <arkit/str.h>

namespace arkit {
namespace {

// What brings a device of the backend; empty = it has some, or nothing does.
std::string step_to(const KnownBackend& backend, const Registry& registry) {
  const std::vector<std::string> here = registry.names(Kind::backend);
  if (std::find(here.begin(), here.end(), backend.name) == here.end())
    return backend.get.empty() ? std::string() : str("it is not installed: ", backend.get);
  const InferenceBackend& installed = registry.backend(backend.name);
  if (!installed.devices().empty() || backend.enable.empty()) return {};
  return str("it finds no device (", installed.probe().why_not, "): ", backend.enable);
}

bool is_for(const KnownBackend& backend, const std::string& device) {
  return device.empty() || fits(backend.devices, device.substr(0, device.find(':')));
}

}  // namespace

std::string better_backend(const std::vector<ScoredLayer>& layers, const Registry& registry,
                           const std::vector<KnownBackend>& known, const std::string& device,
                           const std::filesystem::path& bus) {
  int64_t most = 0;
  std::string line;
  for (const KnownBackend& backend : known) {
    int64_t better = 0, gain = 0;
    for (const ScoredLayer& layer : layers) {
      const int more = would_score(backend, *layer.quant) - layer.score;
      better += more > 0 ? 1 : 0;
      gain += std::max(more, 0);
    }
    if (gain <= most || !is_for(backend, device) || !has_hardware(backend.pci, bus)) continue;
    const std::string step = step_to(backend, registry);
    if (step.empty()) continue;
    most = gain;
    line = str("a better backend exists: '", backend.name, "' (", backend.title, ") would run ", better, " of ",
               layers.size(), layers.size() == 1 ? " packed layer" : " packed layers", "; ", step);
  }
  return line;
}

}  // namespace arkit
