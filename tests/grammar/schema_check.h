#pragma once
// Whether a value fits a JSON schema, by the book and with nothing of arkit's own reading of schemas.

#include <string>

#include <arkit/json.h>

namespace arkit::testing {

// Empty = it does; else what is wrong. Keywords that tests do not use are an error.
[[nodiscard]] std::string misfit(const json::Value& value, const json::Value& schema, const json::Value& root);

}  // namespace arkit::testing
