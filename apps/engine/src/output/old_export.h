#pragma once
// Which files of a folder are an export, and which are the user's own.

#include <filesystem>
#include <set>
#include <string>
#include <vector>

namespace arkit::output {

// Relative paths of what --force replaces in `folder`: the export in the folder itself and those in subfolders that are
// named in `subfolders` or that a run of several formats made. The folder `spared` (the model a run reads) keeps all.
[[nodiscard]] std::set<std::filesystem::path> exports_in(const std::filesystem::path& folder,
                                                         const std::vector<std::string>& subfolders,
                                                         const std::filesystem::path& spared);

}  // namespace arkit::output
