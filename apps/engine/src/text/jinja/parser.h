#pragma once
// Tokens to syntax tree.

#include <string_view>

#include "text/jinja/ast.h"

namespace arkit::text::jinja {

// Throws ErrorCode::unsupported naming the tag or construct that is not in the subset.
[[nodiscard]] Body parse(std::string_view source);

}  // namespace arkit::text::jinja
