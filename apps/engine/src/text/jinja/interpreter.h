#pragma once
// Runs a syntax tree.

#include <string>

#include "text/jinja/ast.h"

namespace arkit::text::jinja {

// Renders `body` with the members of `context` as variables, within one Budget.
[[nodiscard]] std::string render(const Body& body, const json::Object& context);

}  // namespace arkit::text::jinja
