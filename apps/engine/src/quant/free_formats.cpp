#include "quant/free_formats.h"

#include <algorithm>

#include <arkit/str.h>

#include "quant/format_lookup.h"

namespace arkit {

const FreeMix* free_mix_of(const Exporter& exporter) {
  return dynamic_cast<const FreeMix*>(&exporter);
}

bool mix_freely(const std::vector<std::string>& formats, const Registry& registry) {
  return !formats.empty() && std::all_of(formats.begin(), formats.end(), [&](const std::string& name) {
    return free_mix_of(*look_up_format(lower(name), registry).exporter) != nullptr;
  });
}

std::string format_in_name(std::string_view scheme, const Registry& registry) {
  const size_t colon = scheme.find(':');
  if (colon == std::string_view::npos) return {};
  std::string name = lower(scheme.substr(0, colon));
  const std::vector<std::string> known = registry.names(Kind::exporter);
  return std::find(known.begin(), known.end(), name) == known.end() ? std::string() : name;
}

}  // namespace arkit
