#pragma once
// Models that read more than text keep what is said about their language model in an object of its own.

#include <string_view>
#include <vector>

#include <arkit/json.h>

namespace arkit {

// The object of config.json that has `key`: the file itself, or the "text_config" (llm_config, language_config) in it;
// the file where none has it.
[[nodiscard]] const json::Object& config_with(const json::Object& config, std::string_view key);
[[nodiscard]] json::Object& config_with(json::Object& config, std::string_view key);

// All objects that speak of the language model: the file itself, then those in it.
[[nodiscard]] std::vector<const json::Object*> text_configs(const json::Object& config);
[[nodiscard]] std::vector<json::Object*> text_configs(json::Object& config);

}  // namespace arkit
