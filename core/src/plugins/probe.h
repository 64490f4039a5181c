#pragma once
// Tries plugin files in a child process before this process loads them: a library whose initialisers crash, hang or
// exit ends the child and is refused here (docs/adr/0028-plugins-are-tried-in-a-child.md).

#include <chrono>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <arkit/export.h>

namespace arkit::plugins {

struct ProbeResult {
  std::string ended;   // how it ended the child: "crashed with signal 11 (Segmentation fault) while it was loaded"
  std::string thrown;  // the first exception that came out of what every command asks; it did no other harm

  [[nodiscard]] bool good() const noexcept { return ended.empty() && thrown.empty(); }
};

inline constexpr std::chrono::milliseconds kProbeLimit = std::chrono::seconds(10);  // for one file

// One result a file, in order. A file the loader refuses is good: that refusal takes nobody with it and is found again
// when the file is loaded. Throws ErrorCode::resource when no child can be made, ErrorCode::interrupted on a signal.
[[nodiscard]] ARKIT_INTERNAL std::vector<ProbeResult> probe_files(std::span<const std::filesystem::path> files,
                                                                  std::chrono::milliseconds limit = kProbeLimit);

}  // namespace arkit::plugins
