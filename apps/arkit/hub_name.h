#pragma once
// --revision and --hub as parts of the model's name, which is all that the engine sees.

#include "parsed.h"

namespace arkit::cli {

// The same command with "modelscope:org/name@revision" for its model. Throws ErrorCode::usage where they contradict the
// name, or the model is a path.
[[nodiscard]] ParsedCommand with_hub(ParsedCommand parsed);

}  // namespace arkit::cli
