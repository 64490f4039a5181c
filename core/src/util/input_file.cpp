#include <arkit/input_file.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <system_error>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit {
namespace fs = std::filesystem;

namespace {

std::string_view kind_of(fs::file_type type) {
  switch (type) {
    case fs::file_type::fifo:
      return "a pipe (FIFO)";
    case fs::file_type::socket:
      return "a socket";
    case fs::file_type::block:
    case fs::file_type::character:
      return "a device";
    default:
      return "no regular file";
  }
}

}  // namespace

void check_input_file(const fs::path& path, int64_t max_bytes, std::string_view where) {
  const std::string shown = str(where, "'", printable(path.string()), "'");
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) {
    const bool absent = !error || error == std::errc::no_such_file_or_directory;
    throw_input(str(shown, absent ? ": no such file" : ": cannot be read (", absent ? "" : error.message() + ")"));
  }
  if (fs::is_directory(status)) throw_input(str(shown, ": is a folder; a file is expected: give one that is in it"));
  if (!fs::is_regular_file(status))
    throw_input(str(shown, ": is ", kind_of(status.type()),
                    "; a regular file is expected: write its content into one and give that"));
  const auto size = static_cast<int64_t>(fs::file_size(path, error));
  if (error) throw_input(str(shown, ": cannot be read (", error.message(), ")"));
  if (size > max_bytes) throw_input(str(shown, ": has ", size, " bytes, at most ", max_bytes, " are accepted"));
}

std::string read_input_file(const fs::path& path, int64_t max_bytes, std::string_view where) {
  check_input_file(path, max_bytes, where);
  std::string text;
  std::error_code error;
  std::ifstream in(path, std::ios::binary);
  const uintmax_t size = in ? fs::file_size(path, error) : 0;
  if (in && !error) {
    text.resize(static_cast<size_t>(size));
    in.read(text.data(), static_cast<std::streamsize>(text.size()));
  }
  if (!in || error)
    throw_input(str(where, "'", printable(path.string()), "': cannot be read (", std::strerror(errno), ")"));
  return text;
}

}  // namespace arkit
