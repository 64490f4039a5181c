#include "process.h"

#include <fstream>
#include <iterator>

#include <unistd.h>

namespace machine_test {
namespace fs = std::filesystem;

std::string source(const std::string& name) {
  return std::string(ARKIT_TEST_DATA) + "/golden/" + name;
}

std::string calibration_texts() {
  return std::string(ARKIT_TEST_DATA) + "/golden-static/calibration.jsonl";
}

Folder::Folder() {
  std::string pattern = (fs::temp_directory_path() / "arkit_machine_XXXXXX").string();
  path_ = ::mkdtemp(pattern.data());
}
Folder::~Folder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

cli_test::Outcome quantize(const Folder& folder, const Words& words, const Words& environment) {
  fs::remove_all(folder / "out");
  Words command{"quantize"};
  command.insert(command.end(), words.begin(), words.end());
  const Words rest{"--output_dir", (folder / "out").string(), "--nsamples", "4", "--seqlen", "32", "--batch_size", "2"};
  command.insert(command.end(), rest.begin(), rest.end());
  Words all{"ARKIT_PLUGIN_PATH=" ARKIT_PLUGIN_BUILD_DIR, "XDG_CACHE_HOME=" + (folder / "cache").string()};
  all.insert(all.end(), environment.begin(), environment.end());
  return cli_test::run_arkit(command, all);
}

std::string bytes_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

}  // namespace machine_test
