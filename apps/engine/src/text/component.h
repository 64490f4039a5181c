#pragma once
// Shared reading of tokenizer.json components: {"type": "...", ...}, sequences of them, and patterns.

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <arkit/json.h>

#include "text/pattern.h"

namespace arkit::text {

// Calls `visit(type, object)` for every component of `spec` (null = none), entering Sequence components through their
// member `list_key`.
void for_each_component(const json::Value* spec, std::string_view what, std::string_view list_key,
                        const std::function<void(const std::string& type, const json::Object& component)>& visit);

// {"String": "x"} or {"Regex": "x"} of the member "pattern".
[[nodiscard]] std::unique_ptr<Pattern> component_pattern(const json::Object& component, std::string_view what);

[[nodiscard]] std::string required_string(const json::Object& component, std::string_view key, std::string_view what);

[[noreturn]] void unknown_component(std::string_view what, const std::string& type);

}  // namespace arkit::text
