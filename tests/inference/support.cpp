#include "inference/support.h"

#include <stdlib.h>

#include <stdexcept>

namespace arkit::tests {

const Registry& registry() {
  static const Registry kRegistry(PluginSearch{.named = {}, .folders = {ARKIT_PLUGIN_BUILD_DIR}});
  return kRegistry;
}

Reporter& silent() {
  static Reporter kReporter;
  return kReporter;
}

std::filesystem::path model_folder(const std::string& name) {
  return std::filesystem::path(ARKIT_TEST_DATA "/models") / name;
}

ScratchFolder::ScratchFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "arkit-test-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no scratch folder");
  path_ = pattern;
}
ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace arkit::tests
