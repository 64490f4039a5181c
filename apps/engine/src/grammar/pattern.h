#pragma once
// The regular expressions of "pattern": the part of ECMA's that says which texts there are. docs/GRAMMARS.md lists it.

#include <string>
#include <string_view>

#include "grammar/term.h"

namespace arkit::grammar {

// Of whole texts: where the expression has no ^ or $ anything may stand before or behind. Throws ErrorCode::input for
// what is no expression, ErrorCode::unsupported for what is not taken; messages begin with `what`.
[[nodiscard]] Term read_pattern(std::string_view pattern, const std::string& what);

}  // namespace arkit::grammar
