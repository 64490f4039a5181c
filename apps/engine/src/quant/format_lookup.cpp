#include "quant/format_lookup.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit {

NamedFormat look_up_format(const std::string& name, const Registry& registry) {
  std::vector<std::string> known;
  for (const std::string& exporter_name : registry.names(Kind::exporter)) {
    Exporter& exporter = registry.exporter(exporter_name);
    known.push_back(exporter_name);
    if (exporter_name == name) return {&exporter, name};
    for (const std::string_view variant : exporter.variants()) {
      known.emplace_back(variant);
      if (variant == name) return {&exporter, name};
    }
  }
  throw_unsupported(unknown_name("format", name, known, "'arkit list formats' shows all"));
}

NamedFormat format_of_scheme(std::string_view scheme, const Registry& registry) {
  for (const std::string& exporter_name : registry.names(Kind::exporter)) {
    Exporter& exporter = registry.exporter(exporter_name);
    for (const std::string_view variant : exporter.variants())
      if (lower(variant) == lower(scheme) && lower(exporter.implied_scheme(variant)) == lower(scheme))
        return {&exporter, std::string(variant)};
  }
  return {};
}

std::string format_in_name(std::string_view scheme, const Registry& registry) {
  const size_t colon = scheme.find(':');
  if (colon == std::string_view::npos) return {};
  std::string name = lower(scheme.substr(0, colon));
  const std::vector<std::string> known = registry.names(Kind::exporter);
  return std::find(known.begin(), known.end(), name) == known.end() ? std::string() : name;
}

}  // namespace arkit
