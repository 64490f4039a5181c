#pragma once
// Where a Python may be that has lm-eval.

#include <filesystem>
#include <vector>

namespace arkit::harness {

// `asked` alone, which must be a file that can be run (ErrorCode::input), or what is there of: the Python of
// $VIRTUAL_ENV, the one that the program lm_eval of PATH names in its first line, python3 and python of PATH. Each once.
[[nodiscard]] std::vector<std::filesystem::path> interpreters(const std::filesystem::path& asked);

}  // namespace arkit::harness
