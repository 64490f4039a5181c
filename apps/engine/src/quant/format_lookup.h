#pragma once
// Formats by the names users give them.

#include <string>
#include <string_view>

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

// The format that stands for a scheme (Exporter::implied_scheme), named in upper or lower case: "gguf:q4_k_m" for
// "GGUF:Q4_K_M". No exporter = none does.
[[nodiscard]] ARKIT_INTERNAL NamedFormat format_of_scheme(std::string_view scheme, const Registry& registry);

// The format that a scheme's name begins with, whether or not it stands for the scheme: "gguf" of "GGUF:Q4_K"; empty = none.
[[nodiscard]] ARKIT_INTERNAL std::string format_in_name(std::string_view scheme, const Registry& registry);

}  // namespace arkit
