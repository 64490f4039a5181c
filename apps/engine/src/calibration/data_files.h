#pragma once
// Which files of a repository or folder hold a split of a data set (docs/spec/calibration.md 2.2).

#include <string>
#include <string_view>
#include <vector>

#include <arkit/export.h>
#include <arkit/log.h>

namespace arkit::calibration {

struct DataWanted {
  std::string config;               // empty = the default one
  std::vector<std::string> splits;  // empty = "train", else the only one
  std::vector<std::string> files;   // patterns that the description of a data set gives instead
  bool converted = false;           // files as the hub makes them: CONFIG/SPLIT/0000.parquet
};

struct DataFiles {
  std::string config;               // empty where the repository knows none
  std::vector<std::string> splits;  // in the order asked for
  std::vector<std::string> paths;   // split by split, each sorted
};

// `paths`: all files, sorted; `card`: README.md, empty = none; `what` opens messages. Only files is_data_file() knows
// are taken. An empty result (no path) = no file of the repository is one. Throws ErrorCode::usage for an unknown
// configuration or split, with those there are, and warns where the card's head cannot be read.
[[nodiscard]] ARKIT_EXPORT DataFiles choose_data_files(const std::vector<std::string>& paths, std::string_view card,
                                                       const DataWanted& wanted, const std::string& what,
                                                       Reporter& reporter);

// As in a shell: * and ? stay inside a folder, ** does not, [0-9] is one of a set.
[[nodiscard]] ARKIT_EXPORT bool matches_pattern(std::string_view path, std::string_view pattern);

}  // namespace arkit::calibration
