#pragma once
// Text files a user names: read whole, and only if they are files. Opening a pipe would wait for a writer, and a device
// has no end.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include <arkit/export.h>

namespace arkit {

// Throws ErrorCode::input, `where` first, for what is no regular file, cannot be read or has more bytes than
// `max_bytes`.
ARKIT_EXPORT void check_input_file(const std::filesystem::path& path, int64_t max_bytes, std::string_view where = {});

// The bytes of the file. Throws as check_input_file does.
[[nodiscard]] ARKIT_EXPORT std::string read_input_file(const std::filesystem::path& path, int64_t max_bytes,
                                                       std::string_view where = {});

}  // namespace arkit
