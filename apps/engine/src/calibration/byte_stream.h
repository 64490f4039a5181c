#pragma once
// The bytes of a data file in order: read by ranges that grow, gzip and zstd undone. Which of them it is, its first
// bytes say. Memory is a few windows, whatever the file expands to; a zstd window above 128 MiB is refused.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <arkit/export.h>

#include "hub/hub.h"

namespace arkit::calibration {

class ARKIT_EXPORT ByteStream {
 public:
  virtual ~ByteStream();
  // Up to `count` bytes; 0 = the end. Throws ErrorCode::input for damaged or cut compressed data, and what the file's
  // read() throws.
  [[nodiscard]] virtual size_t read(char* to, size_t count) = 0;
};

// `what` opens every message ("data set 'x': 'train.jsonl.zst'").
[[nodiscard]] ARKIT_EXPORT std::unique_ptr<ByteStream> open_stream(std::unique_ptr<hub::RandomAccess> file,
                                                                   std::string what);

// Everything. Throws ErrorCode::input past `max_bytes`.
[[nodiscard]] ARKIT_EXPORT std::string read_all(ByteStream& stream, size_t max_bytes, const std::string& what);

// Lines without their line ends. Throws ErrorCode::input for a line above 64 MiB, or as many empty ones.
class ARKIT_EXPORT LineReader {
 public:
  LineReader(std::unique_ptr<ByteStream> stream, std::string what);
  // The next line that is not blank.
  [[nodiscard]] std::optional<std::string> next();
  [[nodiscard]] int64_t number() const { return number_; }  // of the line last given, from 1

 private:
  bool fill();

  std::unique_ptr<ByteStream> stream_;
  std::string what_, buffer_;
  size_t begin_ = 0;
  int64_t number_ = 0;
  bool ended_ = false;
};

}  // namespace arkit::calibration
