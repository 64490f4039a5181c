#pragma once
// Data sets known by name: files of share/arkit/datasets, of the user's data folder, and those named on the command
// line (docs/CALIBRATION.md describes them, docs/spec/calibration.md 2 what becomes of them).

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/export.h>
#include <arkit/json.h>

#include "calibration/text_rule.h"

namespace arkit::calibration {

// Orders of a data set's documents (docs/spec/calibration.md 7).
enum class Shuffle {
  whole,   // all documents, numpy's permutation
  list,    // all documents, Python's shuffle
  stream,  // through a buffer of 1000, so that only a beginning is read
  none
};

struct KnownDataset {
  std::vector<std::string> names;   // the first is the usual one
  std::string source;               // hub id, "@REVISION" allowed; empty for a local one
  std::string modelscope;           // its id on that hub, where it is another
  std::filesystem::path local;      // file or folder
  std::string config;               // empty = the hub's default
  std::vector<std::string> splits;  // empty = the default one
  std::vector<std::string> files;   // patterns of paths; empty = by split
  TextRule text;
  std::vector<RowFilter> filters;
  std::vector<Shuffle> shuffle;  // one after another
  int64_t take = 0;              // documents looked at, at most; 0 = all
  bool concat = false;
  std::string summary;
  std::filesystem::path file;  // that describes it

  // Whether only a beginning is read.
  [[nodiscard]] bool streams() const {
    return std::find(shuffle.begin(), shuffle.end(), Shuffle::stream) != shuffle.end();
  }
};

// `file` is where the text stands: local paths are relative to its folder. Throws ErrorCode::input.
[[nodiscard]] ARKIT_EXPORT KnownDataset parse_dataset_file(std::string_view text, const std::filesystem::path& file);
[[nodiscard]] ARKIT_EXPORT KnownDataset read_dataset_file(const std::filesystem::path& file);

// The user's first, then those of arkit; read once. Throws ErrorCode::input for a broken file.
[[nodiscard]] ARKIT_EXPORT std::span<const KnownDataset> known_datasets();

// An exact name, else, for a name without owner ("a/b" has one), part of a known name; null = unknown.
[[nodiscard]] ARKIT_EXPORT const KnownDataset* find_dataset(std::string_view name);

// For `arkit list datasets`: name, source, split, summary, and whether the local cache has a copy. "self" comes first.
[[nodiscard]] ARKIT_EXPORT json::Array list_datasets();

}  // namespace arkit::calibration
