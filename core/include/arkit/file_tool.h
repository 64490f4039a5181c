#pragma once
// A further face of a ModelReader whose files people look into, mend, cut and join without making a model of them.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <arkit/export.h>
#include <arkit/json.h>

namespace arkit {

struct ShowFile {
  std::string filter;  // a regular expression that names of keys and tensors are searched for; empty = all
  bool whole = false;  // arrays and texts in full
};
struct SetMetadata {
  std::filesystem::path output;     // empty = in place of the file
  std::vector<std::string> set;     // KEY=VALUE; of a key the file does not have KEY=TYPE:VALUE
  std::vector<std::string> remove;  // keys
  bool force = false;               // also what readers could not open any more
};
struct SplitFile {
  std::filesystem::path output;  // folder and first part of the names; empty = beside the file and called after it
  std::optional<int64_t> max_bytes, max_tensors;  // of a part
};
struct MergeFile {
  std::filesystem::path output;
};
using FileTask = std::variant<ShowFile, SetMetadata, SplitFile, MergeFile>;

class ARKIT_EXPORT FileTool {
 public:
  virtual ~FileTool();
  // Returns what --json prints. Files appear when they are complete and under names that were free.
  [[nodiscard]] virtual json::Object work_on(const std::filesystem::path& file, const FileTask& task) const = 0;
};

}  // namespace arkit
