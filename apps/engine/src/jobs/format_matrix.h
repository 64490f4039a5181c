#pragma once
// The format x scheme matrix as a Markdown table: what `arkit list formats` prints and docs/FORMATS.md holds.

#include <string>

#include <arkit/export.h>
#include <arkit/json.h>

namespace arkit {

// From the rows of list_things("formats"). Formats that hold the same schemes share a column, and the group sizes of a
// preset share a row where they make no difference. Ends with a newline; empty without formats.
[[nodiscard]] ARKIT_EXPORT std::string format_matrix(const json::Array& rows);

}  // namespace arkit
