#pragma once
// `arkit models new`: a first family file for a model that no family knows.

#include <string>
#include <vector>

#include <arkit/export.h>
#include <arkit/log.h>

namespace arkit {

struct DraftedFamily {
  std::string toml;               // the file
  std::vector<std::string> open;  // what could not be inferred, one sentence each
  bool from_tensors = false;      // were there tensors beside the configuration?
};

// `model` = a config.json, the folder of a checkpoint, whose tensors are looked at too, or the id of a hub, of which
// config.json alone is fetched. Throws ErrorCode::input for what is none of them, and what the hub does not give.
[[nodiscard]] ARKIT_EXPORT DraftedFamily draft_family_file(const std::string& model, Reporter& reporter);

}  // namespace arkit
