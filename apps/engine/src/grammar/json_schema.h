#pragma once
// A JSON schema as a grammar: every text of it is JSON that the schema accepts. Not every such JSON is a text of it:
// properties come in the order of the schema, additional ones last (docs/GRAMMARS.md says what else is narrowed).

#include <string>

#include <arkit/json.h>

#include "grammar/draft.h"

namespace arkit::grammar {

// `what` opens messages, which name the place in the schema as a JSON pointer. Throws ErrorCode::input for what is no
// schema, ErrorCode::unsupported for a keyword that is not followed. Nothing is ignored but what only describes.
[[nodiscard]] Draft read_json_schema(const json::Value& schema, const std::string& what, RuleId& start);

}  // namespace arkit::grammar
