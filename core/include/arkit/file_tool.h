#pragma once
// A further face of a ModelReader whose files people look into, mend, cut and join without making a model of them. Each
// function answers with what --json prints. Files that are written appear when they are complete, under a name that was
// free or with `force`.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <arkit/export.h>
#include <arkit/json.h>

namespace arkit {

struct ShowFile {
  std::filesystem::path file;
  std::string filter;            // a regular expression that names of keys or tensors are searched for; empty = all
  bool whole = false;            // arrays and texts in full
};

struct SetMetadata {
  std::filesystem::path file, output;
  std::vector<std::string> set;     // KEY=VALUE, or KEY=TYPE:VALUE for a key the file does not have
  std::vector<std::string> remove;  // keys
  bool force = false;               // also what programs could not load any more, and an output that is there
};

struct SplitFile {
  std::filesystem::path file, output;   // output: the stem of the parts' names
  std::optional<int64_t> max_bytes;     // of a part's tensors; or
  std::optional<int64_t> max_tensors;
  bool force = false;
};

struct MergeFile {
  std::filesystem::path file, output;  // file: any of the parts, or their folder
  bool force = false;
};

class ARKIT_EXPORT FileTool {
 public:
  virtual ~FileTool();
  [[nodiscard]] virtual json::Object show(const ShowFile& wish) const = 0;
  [[nodiscard]] virtual json::Object set_metadata(const SetMetadata& wish) const = 0;
  [[nodiscard]] virtual json::Object split(const SplitFile& wish) const = 0;
  [[nodiscard]] virtual json::Object merge(const MergeFile& wish) const = 0;
};

}  // namespace arkit
