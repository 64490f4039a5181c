#pragma once
// Is an export the one the reference made? Tensors bit for bit, JSON files as parsed objects without version keys.

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace arkit::test {

// Where an export is to differ from the reference's: its defects (docs/DEFECTS.md), and what depends on a calibration.
struct Deviation {
  // Member of quantization_config -> the value expected instead, as JSON.
  std::vector<std::pair<std::string, std::string>> config;
  bool no_quantization_config = false;  // in none of the files
  // Patterns for names of tensors whose dtype and shape are compared, but not their bytes.
  std::vector<std::string> other_bytes;
  // Patterns for names of tensors of which only the presence is compared.
  std::vector<std::string> other_dtype;
  // Patterns for names of tensors the reference forgets.
  std::vector<std::string> added;
  // Static scales may differ by this factor; 0 = the reference's calibration text was not kept, so that only their
  // dtype and shape are compared (static_golden_test.cpp has the values).
  double calibrated_factor = 0.0;
};

// The first difference found, with both values; empty = equal. `golden` holds either weights or tensor_digests.json, or
// neither where the reference's were not kept: then only the JSON files are compared. Tokenizer files are not compared.
// Static scales are compared as the deviation says, and lists whose order means nothing sorted.
[[nodiscard]] std::string first_difference(const std::filesystem::path& output, const std::filesystem::path& golden,
                                           const Deviation& deviation = {});

// The same of the tensors alone.
[[nodiscard]] std::string first_tensor_difference(const std::filesystem::path& output,
                                                  const std::filesystem::path& golden, const Deviation& deviation = {});

}  // namespace arkit::test
