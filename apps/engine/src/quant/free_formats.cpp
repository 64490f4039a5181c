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

}  // namespace arkit
