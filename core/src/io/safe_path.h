#pragma once
// The files of a folder that the user named. Links in it are the user's own and may lead anywhere; names that come from
// inside files (an index, an archive) may only name entries of the folder itself.

#include <filesystem>
#include <string_view>

#include <arkit/export.h>

namespace arkit::io {

// A file name without any path in it: no separator, not "." or "..", no control character, at most 255 bytes.
[[nodiscard]] bool is_plain_name(std::string_view name);

// folder / name, links resolved. The result is a regular file; a link to nothing, a folder, a FIFO or a device throws
// ErrorCode::input, and so does a `name` that is_plain_name refuses. Nothing is opened.
[[nodiscard]] ARKIT_INTERNAL std::filesystem::path resolve_file(const std::filesystem::path& folder,
                                                                std::string_view name);

// True when the folder has an entry of this name, a link to nothing included: what is there and cannot be read is an
// error, not absence.
[[nodiscard]] ARKIT_INTERNAL bool has_entry(const std::filesystem::path& folder, std::string_view name);

}  // namespace arkit::io
