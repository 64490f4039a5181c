#include "io/safe_path.h"

#include <algorithm>
#include <system_error>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::io {
namespace fs = std::filesystem;

bool is_plain_name(std::string_view name) {
  if (name.empty() || name.size() > 255 || name == "." || name == "..") return false;
  return std::none_of(name.begin(), name.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return c == '/' || c == '\\' || byte < 0x20 || byte == 0x7F;
  });
}

fs::path resolve_file(const fs::path& folder, std::string_view name) {
  if (!is_plain_name(name))
    throw_input(
        str("'", folder.string(), "': file name '", printable(name), "' is not a plain name in the model folder"));
  const fs::path entry = folder / name;
  std::error_code error;
  const fs::path file = fs::canonical(entry, error);
  if (error) {
    std::error_code ignored;
    if (fs::is_symlink(fs::symlink_status(entry, ignored)))
      throw_input(str("'", entry.string(), "': is a link to '", printable(fs::read_symlink(entry, ignored).string()),
                      "', which cannot be followed (", error.message(), "); fetch the file again or remove the link"));
    throw_input(str("'", entry.string(), "': cannot be read (", error.message(), ")"));
  }
  if (!fs::is_regular_file(file, error))
    throw_input(str("'", entry.string(), "': is not a regular file; a model folder holds files and folders only"));
  return file;
}

bool has_entry(const fs::path& folder, std::string_view name) {
  std::error_code error;
  return fs::exists(fs::symlink_status(folder / name, error));
}

}  // namespace arkit::io
