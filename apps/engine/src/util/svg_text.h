#pragma once

#include <string>
#include <string_view>

namespace arkit {

// `text` as the characters of an SVG element: &, < and > as entities, control characters as spaces.
std::string svg_text(std::string_view text);

}  // namespace arkit
