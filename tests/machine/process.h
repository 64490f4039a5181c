#pragma once
// The real program on a tiny model, under environments of other machines.

#include <filesystem>
#include <string>
#include <vector>

#include "run_program.h"

namespace machine_test {

using Words = std::vector<std::string>;

std::string source(const std::string& name = "source-llama-bf16");  // tests/data/golden
std::string calibration_texts();

// A folder that disappears with the object.
class Folder {
 public:
  Folder();
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

// `arkit quantize` into folder / "out", which is removed before; words and environment are added to the defaults.
cli_test::Outcome quantize(const Folder& folder, const Words& words, const Words& environment);

std::string bytes_of(const std::filesystem::path& file);

}  // namespace machine_test
