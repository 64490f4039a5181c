#pragma once
// Formats by the names users give them.

#include <string>
#include <string_view>
#include <vector>

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

// Do all these formats mix freely (ExporterInfo)? False for none.
[[nodiscard]] ARKIT_INTERNAL bool mix_freely(const std::vector<std::string>& formats, const Registry& registry);

// The format that a scheme's name begins with: "gguf" of "GGUF:Q4_K"; empty = none.
[[nodiscard]] ARKIT_INTERNAL std::string format_in_name(std::string_view scheme, const Registry& registry);

}  // namespace arkit
