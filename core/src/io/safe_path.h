#pragma once
// Names that come from files (an index, a folder listing) may only reach plain files of the model's own folder.

#include <filesystem>
#include <string_view>

namespace arkit::io {

// A file name without any path in it: no separator, not "." or "..", no control character, at most 255 bytes.
[[nodiscard]] bool is_plain_name(std::string_view name);

// folder / name, links resolved. The result is a regular file that lies in `folder` or, when the folder is a snapshot
// of a Hugging Face cache (models--x/snapshots/REV), in the blob store beside it; anything else throws
// ErrorCode::input. `name` is checked with is_plain_name.
[[nodiscard]] std::filesystem::path resolve_inside(const std::filesystem::path& folder, std::string_view name);

// True when folder / name exists (a dangling link does not).
[[nodiscard]] bool has_file(const std::filesystem::path& folder, std::string_view name);

}  // namespace arkit::io
