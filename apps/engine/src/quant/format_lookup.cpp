#include "quant/format_lookup.h"

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

}  // namespace arkit
