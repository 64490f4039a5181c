#pragma once
// Runs the real `arkit` and keeps what it wrote.

#include <string>
#include <vector>

namespace cli_test {

struct Outcome {
  int exit_code = -1;  // 128 + signal for a killed process, as a shell shows it
  std::string out, err;
  double seconds = 0;
};

// `environment` entries are "NAME=value", added to the inherited ones.
[[nodiscard]] Outcome run_arkit(const std::vector<std::string>& arguments,
                                const std::vector<std::string>& environment = {});
[[nodiscard]] Outcome program(const std::vector<std::string>& command,
                              const std::vector<std::string>& environment = {});

[[nodiscard]] bool contains(const std::string& text, const std::string& part);

}  // namespace cli_test
