#pragma once
// TOML as JSON: files of families, runtimes and targets are read by what reads JSON.

#include <string_view>

#include <arkit/json.h>

namespace arkit::sdk {

// Dates and times become texts. Throws ErrorCode::input naming `what` and the line, also for nan and inf, and for keys
// nested so deeply that a parser would run out of stack.
[[nodiscard]] json::Value toml_as_json(std::string_view text, std::string_view what);

}  // namespace arkit::sdk
