#pragma once
// The grammar files of --grammar: docs/GRAMMARS.md says what stands in them.

#include <string>
#include <string_view>

#include "grammar/draft.h"

namespace arkit::grammar {

// Its texts are those of the rule "root", which `start` is set to. Throws ErrorCode::input with line and column.
[[nodiscard]] Draft read_notation(std::string_view text, const std::string& what, RuleId& start);

}  // namespace arkit::grammar
