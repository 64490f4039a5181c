#pragma once
// Numbers of a JSON text as they are spelled: parsers keep neither integers beyond 64 bits nor NaN and Infinity.

#include <map>
#include <string>
#include <string_view>

namespace arkit {

// Path -> spelling, such as "rope_scaling.factor" -> "8.0" and "limits[1]" -> "Infinity". The text is known to be JSON,
// but for NaN, Infinity and -Infinity. Of equal keys the last counts, as for Python.
[[nodiscard]] std::map<std::string, std::string> json_numbers(std::string_view text);

// Do two spellings mean the same number to a reader that keeps integers of any size?
[[nodiscard]] bool same_number(const std::string& a, const std::string& b);

}  // namespace arkit
