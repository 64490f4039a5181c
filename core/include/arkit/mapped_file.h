#pragma once
// A file mapped for reading: what every reader of weights stands on. Pages come in when they are touched and can be
// given back, so the memory of a process is what it uses, not what it has opened.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

#include <arkit/export.h>

namespace arkit {

// Read-only and shared with the page cache. Thread-safe: all methods are const and keep no state.
//
// A file that is cut short while it is mapped makes the kernel send SIGBUS on access. Readers call require_unchanged()
// before they hand out data, which turns nearly all of that into an ordinary error; arkit/lost_file.h is about the
// rest.
class ARKIT_EXPORT MappedFile {
 public:
  // Throws ErrorCode::input when `path` (symbolic links followed) is not a readable regular file.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }
  [[nodiscard]] std::string_view text() const noexcept { return {reinterpret_cast<const char*>(data_), size_}; }

  // Throws ErrorCode::input when the file is now smaller than it was when it was opened.
  void require_unchanged() const;

  // The range will be read soon: starts reading it ahead.
  void will_need(size_t offset, size_t size) const noexcept;
  // The range is not needed for now: its pages leave the process. Pages on the border leave too; they fault in again.
  void release(size_t offset, size_t size) const noexcept;

 private:
  std::filesystem::path path_;
  int fd_ = -1;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace arkit
