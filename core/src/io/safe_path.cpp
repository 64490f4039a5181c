#include "io/safe_path.h"

#include <algorithm>
#include <system_error>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::io {
namespace fs = std::filesystem;
namespace {

bool lies_in(const fs::path& file, const fs::path& folder) {
  const auto [f, d] = std::mismatch(file.begin(), file.end(), folder.begin(), folder.end());
  return d == folder.end() && f != file.end();
}

// The blob store of a Hugging Face cache, for the snapshot folder models--x/snapshots/REV; empty for other folders.
fs::path blob_store(const fs::path& real_folder) {
  const fs::path snapshots = real_folder.parent_path();
  return snapshots.filename() == "snapshots" ? snapshots.parent_path() / "blobs" : fs::path();
}

}  // namespace

bool is_plain_name(std::string_view name) {
  if (name.empty() || name.size() > 255 || name == "." || name == "..") return false;
  return std::none_of(name.begin(), name.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return c == '/' || c == '\\' || byte < 0x20 || byte == 0x7F;
  });
}

fs::path resolve_inside(const fs::path& folder, std::string_view name) {
  if (!is_plain_name(name))
    throw_input(
        str("'", folder.string(), "': file name '", printable(name), "' is not a plain name in the model folder"));
  std::error_code error;
  const fs::path real_folder = fs::canonical(folder, error);
  if (error) throw_input(str("'", folder.string(), "': cannot be read (", error.message(), ")"));
  const fs::path file = fs::canonical(folder / name, error);
  if (error) throw_input(str("'", (folder / name).string(), "': cannot be read (", error.message(), ")"));
  const fs::path blobs = blob_store(real_folder);
  if (!lies_in(file, real_folder) && (blobs.empty() || !lies_in(file, blobs)))
    throw_input(str("'", (folder / name).string(), "': is a link to '", file.string(),
                    "' outside the model folder; copy the file there or open that folder"));
  if (!fs::is_regular_file(file, error)) throw_input(str("'", file.string(), "': is not a regular file"));
  return file;
}

bool has_file(const fs::path& folder, std::string_view name) {
  std::error_code error;
  return fs::exists(folder / name, error);
}

}  // namespace arkit::io
