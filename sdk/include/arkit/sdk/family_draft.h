#pragma once
// A first family file (family.h) from what a config.json and, where there is one, a checkpoint's tensors show. It guesses
// from names, and says what nobody can see in them.

#include <span>
#include <string>
#include <vector>

#include <arkit/json.h>
#include <arkit/model_source.h>

namespace arkit::sdk {

struct FamilyDraft {
  std::string toml;               // a family file
  std::vector<std::string> open;  // what could not be inferred, one sentence each; the file has them as comments, too
};

// `tensors` = those of a checkpoint; empty = none was given. Throws ErrorCode::input for a configuration without
// model_type.
[[nodiscard]] FamilyDraft draft_family(const json::Object& config, std::span<const TensorInfo> tensors);

}  // namespace arkit::sdk
