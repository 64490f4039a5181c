#pragma once
// Shared by the tests of this folder: the plugins of this build tree and a scratch folder.

#include <filesystem>
#include <string>

#include <arkit/log.h>
#include <arkit/registry.h>

namespace arkit::tests {

const Registry& registry();
Reporter& silent();
std::filesystem::path model_folder(const std::string& name);  // tests/data/models/<name>

// An empty folder, removed with everything in it at the end.
class ScratchFolder {
 public:
  ScratchFolder();
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace arkit::tests
