#pragma once
// Data sets known by name (docs/spec/calibration.md 2). arkit downloads nothing: a name stands for files that the
// Hugging Face cache already holds.

#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include <arkit/export.h>
#include <arkit/json.h>

namespace arkit::calibration {

struct KnownDataset {
  std::string_view names;  // accepted names, separated by blanks; the first is the usual one
  std::string_view hub_id;
  std::string_view split;  // default
  // Fields whose texts make a document, separated by blanks; "messages" = contents of a conversation.
  std::string_view fields;
  std::string_view joint;  // between the fields
  std::string_view summary;
};

[[nodiscard]] ARKIT_EXPORT std::span<const KnownDataset> known_datasets();

// Exact name first, then the last path component as part of a known name; null = unknown.
[[nodiscard]] ARKIT_EXPORT const KnownDataset* find_dataset(std::string_view name);

// A readable file (.jsonl or .json) of the data set in the local Hugging Face cache. Throws ErrorCode::input saying
// what was looked for, what lies there instead, and what to do.
[[nodiscard]] ARKIT_EXPORT std::filesystem::path cached_dataset_file(const KnownDataset& dataset,
                                                                     std::string_view split);

// For `arkit list datasets`: name, source, split, summary, and whether the cache has a readable copy. "self" comes
// first.
[[nodiscard]] ARKIT_EXPORT json::Array list_datasets();

}  // namespace arkit::calibration
