#pragma once
// YAML as recipes and the cards of repositories need it: one document, parsed event by event into JSON values under bounds on depth, on the number
// of nodes and on what aliases expand to.

#include <optional>
#include <string>
#include <string_view>

#include <arkit/export.h>
#include <arkit/json.h>

namespace arkit {

// Plain scalars become null, booleans and numbers as in YAML 1.1, everything else strings. llm-compressor's own files
// hold Python tags around a name (`!!python/object/apply:...QuantizationStrategy [tensor]`): these become the name; no
// other application tag is accepted. `where` names the text in errors. Throws ErrorCode::input.
[[nodiscard]] ARKIT_INTERNAL json::Value parse_yaml(std::string_view text, const std::string& where);

// What stands between the first two lines that begin with --- or +++ of a Markdown file; nothing where there are none.
[[nodiscard]] ARKIT_EXPORT std::optional<std::string_view> front_matter(std::string_view text);

}  // namespace arkit
