#pragma once
// Runs a syntax tree.

#include <string>

#include "text/jinja/ast.h"

namespace arkit::text::jinja {

// Renders `body` with the members of `context` as variables. Steps, recursion and output are bounded; a template that
// exceeds them fails.
[[nodiscard]] std::string render(const Body& body, const Dict& context);

}  // namespace arkit::text::jinja
