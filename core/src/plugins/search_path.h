#pragma once
// Which files the host looks at, and whether their permissions let anyone but the user or root swap them.

#include <filesystem>
#include <string>
#include <vector>

#include <arkit/registry.h>

namespace arkit::plugins {

struct Candidate {
  std::filesystem::path path;  // absolute; a file, or a folder that is refused as a whole
  bool named_by_user = false;
  std::string refused;  // why it must not be loaded; empty = try it
};

// Files of `search` in the order they win: named ones first, each folder sorted by file name, no file twice. Missing
// folders of the discovery are skipped; a named path that is missing or holds no plugin is a refused candidate.
[[nodiscard]] std::vector<Candidate> find_candidates(const PluginSearch& search);

// Why `path` (a file or folder) may be replaced by somebody else; empty = only the user and root can write it.
[[nodiscard]] std::string unsafe_permissions(const std::filesystem::path& path);

// Does `plugin` lie in the folder that was built or installed with this program?
[[nodiscard]] bool is_shipped(const std::filesystem::path& plugin);

}  // namespace arkit::plugins
