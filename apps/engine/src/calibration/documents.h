#pragma once
// Documents of local files, before tokenization (docs/spec/calibration.md 4).

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/export.h>
#include <arkit/json.h>

#include "calibration/dataset_registry.h"

namespace arkit::calibration {

// Text, or a conversation (which only a chat template can render).
struct Document {
  std::string text;
  json::Array messages;
  size_t item = 0;  // its number in the file, from 1
};

// Items of a .json list (or the values of a .json object) or the lines of a .jsonl, in file order. An item is a string,
// an object with one member, one with "text", or one with "input_ids" that is a string. Throws ErrorCode::input naming
// the first item that is none of these.
[[nodiscard]] ARKIT_EXPORT std::vector<Document> read_documents(const std::filesystem::path& file);

// The same for a file of a known data set, whose own fields make the text.
[[nodiscard]] ARKIT_EXPORT std::vector<Document> read_known_documents(const std::filesystem::path& file,
                                                                      const KnownDataset& dataset);

// A whole text file (arkit's extension): one running text. Throws ErrorCode::input past 1 GiB.
[[nodiscard]] ARKIT_EXPORT std::string read_running_text(const std::filesystem::path& file);

}  // namespace arkit::calibration
