// Runs a fuzz target over every file of the folders (or files) given: what libFuzzer does with -runs=0, without
// libFuzzer. Fails when an input escapes the target (an exception or a crash) and when there is nothing to run.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

std::vector<std::filesystem::path> inputs(int argc, char** argv) {
  std::vector<std::filesystem::path> files;
  for (int i = 1; i < argc; ++i) {
    const std::filesystem::path path(argv[i]);
    if (!std::filesystem::is_directory(path)) {
      files.push_back(path);
      continue;
    }
    for (const auto& entry : std::filesystem::recursive_directory_iterator(path))
      if (entry.is_regular_file()) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

int main(int argc, char** argv) {
  std::filesystem::path current;
  try {
    const auto files = inputs(argc, argv);
    if (files.empty()) {
      std::fprintf(stderr, "no input: give files or folders of a corpus\n");
      return 2;
    }
    for (const auto& file : files) {
      current = file;
      std::ifstream in(file, std::ios::binary);
      const std::string bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
      LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
    }
    std::printf("%zu inputs replayed\n", files.size());
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: escaped the target: %s\n", current.c_str(), error.what());
    return 1;
  }
}
