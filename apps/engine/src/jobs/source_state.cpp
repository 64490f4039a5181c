#include "jobs/source_state.h"

#include <set>

#include <sys/stat.h>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit {
namespace fs = std::filesystem;

SourceState::File SourceState::look_at(const fs::path& path) {
  struct stat state {};
  if (::stat(path.c_str(), &state) != 0) return {.path = path, .bytes = -1};
  return {path, state.st_dev, state.st_ino, state.st_size, state.st_mtim.tv_sec, state.st_mtim.tv_nsec};
}

SourceState::SourceState(const ModelSource& source, const std::vector<fs::path>& weights) {
  std::set<fs::path> paths(weights.begin(), weights.end());
  for (const CompanionFile& companion : source.companions())
    if (!companion.path.empty()) paths.insert(companion.path);
  if (fs::is_directory(source.path())) paths.insert(source.path() / "config.json");
  for (const fs::path& path : paths) files_.push_back(look_at(path));
}

void SourceState::require_unchanged() const {
  for (const File& before : files_) {
    const File now = look_at(before.path);
    if (now == before) continue;
    const std::string what = now.bytes < 0 && before.bytes >= 0                         ? "is gone"
                             : now.inode != before.inode || now.device != before.device ? "was replaced by another file"
                             : now.bytes != before.bytes ? str("has ", now.bytes, " bytes now, it had ", before.bytes)
                                                         : std::string("was written to");
    throw_input(str("'", printable(before.path.string()), "': ", what,
                    " while arkit worked on the model; leave a model alone until arkit is done, and run the command ",
                    "again; nothing was written"));
  }
}

}  // namespace arkit
