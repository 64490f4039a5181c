#pragma once
// Command lines as tests type them.

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <arkit/engine/jobs.h>

#include "arguments.h"
#include "command_line.h"
#include "jobs/job_testing.h"
#include "quantize_options.h"

namespace options_test {

using Words = std::vector<std::string>;

inline Words operator+(Words left, const Words& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

// What `arkit quantize` or `arkit autoscheme` would hand to core.
inline arkit::QuantizeOptions options_of(const std::string& command, const Words& words) {
  const arkit::cli::ParsedCommand parsed = arkit::cli::parse_command_line(Words{command} + words).parsed;
  const arkit::cli::Arguments arguments(parsed);
  return command == "autoscheme" ? arkit::cli::autoscheme_options(arguments) : arkit::cli::quantize_options(arguments);
}

inline std::filesystem::path write_text(const std::filesystem::path& file, const std::string& text) {
  std::ofstream(file) << text;
  return file;
}

}  // namespace options_test
