#pragma once
// Progress that Python programs draw, as it can be counted.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace arkit::harness {

struct DrawnProgress {
  std::string what;  // empty = not said
  int64_t done = 0, total = 0;
};

// "Requesting API:  12%|###   | 60/500 [00:10<01:13,  6.0it/s]"; nullopt for any other line.
[[nodiscard]] std::optional<DrawnProgress> progress_in(std::string_view line);

}  // namespace arkit::harness
