#pragma once
// Formats by the names users give them.

#include <string>

#include <arkit/export.h>
#include <arkit/exporter.h>
#include <arkit/registry.h>

namespace arkit {

struct NamedFormat {
  Exporter* exporter = nullptr;
  std::string name;  // of the exporter or of one of its variants
};

// Throws ErrorCode::unsupported with the nearest name.
[[nodiscard]] ARKIT_INTERNAL NamedFormat look_up_format(const std::string& name, const Registry& registry);

}  // namespace arkit
