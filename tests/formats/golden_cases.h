#pragma once
// Which run of the reference made which golden export (golden/results.json), as a table both the unit tests and the
// tests of the command line use.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "formats/golden_compare.h"

namespace arkit::test {

struct GoldenCase {
  std::string name;    // folder under tests/data/golden
  std::string source;  // likewise
  std::string format;
  std::string scheme = "W4A16";
  std::optional<int64_t> group_size;
  bool asym = false;
  std::string layer_config;  // JSON
  bool quant_lm_head = false;
  int64_t max_shard_bytes = int64_t{5} * 1000 * 1000 * 1000;
  int64_t iters = 0;
  std::string ignore_layers;  // comma list
  std::string static_kv_dtype;
  Deviation deviation;  // where arkit differs from the reference on purpose

  // Does the scheme of the whole run store integers without activations? Those the unit tests quantize by hand.
  [[nodiscard]] bool weight_only_int() const { return scheme.starts_with('W'); }
};

[[nodiscard]] std::span<const GoldenCase> golden_cases();

// What `arkit quantize SOURCE --output_dir DIR` needs to repeat the case.
[[nodiscard]] std::vector<std::string> command_flags(const GoldenCase& golden);

// tests/data/golden
[[nodiscard]] std::string golden_root();

}  // namespace arkit::test
