#pragma once
// `arkit models new`: a first family file for a model that no family knows.

#include <filesystem>
#include <string>
#include <vector>

#include <arkit/export.h>

namespace arkit {

struct DraftedFamily {
  std::string toml;               // the file
  std::vector<std::string> open;  // what could not be inferred, one sentence each
  bool from_tensors = false;      // were there tensors beside the configuration?
};

// `model` = a config.json, or the folder of a checkpoint, whose tensors are looked at too. Throws
// ErrorCode::input for what is neither.
[[nodiscard]] ARKIT_EXPORT DraftedFamily draft_family_file(const std::filesystem::path& model);

}  // namespace arkit
