#pragma once
// Files of which only the start is there until something of them is wanted.

#include <cstdint>
#include <filesystem>
#include <memory>

#include <arkit/export.h>

namespace arkit::io {

// Thread-safe.
class LateFile {
 public:
  virtual ~LateFile() = default;
  [[nodiscard]] virtual int64_t size() const = 0;  // bytes of the whole file
  // Brings the rest, into the file that is there. It stays while anybody holds what is returned. Throws.
  [[nodiscard]] virtual std::shared_ptr<const void> use() = 0;
};

// From now on, who maps `path` (links resolved) knows it as `file`; null = no longer.
ARKIT_INTERNAL void set_late_file(const std::filesystem::path& path, std::shared_ptr<LateFile> file);
// Null = an ordinary file.
[[nodiscard]] ARKIT_INTERNAL std::shared_ptr<LateFile> late_file(const std::filesystem::path& path);

}  // namespace arkit::io
