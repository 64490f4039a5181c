#pragma once
// The dataset argument (docs/spec/calibration.md 1): entry(,entry)*, entry = name(:key[=value])*.
//
// As in the reference, spaces mean nothing outside quotes; unlike it (a defect: it strips them everywhere and keeps the
// quotes), 'single' or "double" quotes protect spaces and the separators , : = inside them and are removed, and an
// unquoted system_prompt keeps its inner spaces. A key that is unknown is refused; the reference calibrates without it.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/export.h>

namespace arkit::calibration {

struct DatasetSpec {
  std::string name;
  std::vector<std::string> splits;  // split=a+b
  std::string config, revision;     // of a hub's data set
  std::vector<std::string> fields;  // field=a+b
  std::string pattern;              // template="{a} {b}"; \n and \t in it are a line end and a tab
  std::optional<int64_t> num;
  bool concat = false;
  bool apply_chat_template = false;
  std::string system_prompt;  // used with apply_chat_template; a prompt set by one entry persists to later ones
};

constexpr std::string_view kDefaultSystemPrompt = "You are a helpful assistant.";

// Throws ErrorCode::usage for an empty entry, an open quote, a num that is not a positive number, an unknown key, or
// a key without the value it needs.
[[nodiscard]] ARKIT_EXPORT std::vector<DatasetSpec> parse_dataset(std::string_view argument);

}  // namespace arkit::calibration
