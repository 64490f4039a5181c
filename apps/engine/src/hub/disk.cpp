#include "hub/disk.h"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <system_error>

#include <unistd.h>

#include <arkit/error.h>
#include <arkit/str.h>

#include "hub/voice.h"

namespace arkit::hub {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kElsewhere =
    "make room there, or keep downloads elsewhere (HF_HOME, MODELSCOPE_CACHE; shards of --low_disk lie beside the "
    "output)";

}  // namespace

void throw_disk(const fs::path& path, std::string_view action, int error_number) {
  const std::string what = str("'", path.string(), "': ", action, " failed: ", std::strerror(error_number));
  const bool full = error_number == ENOSPC || error_number == EDQUOT || error_number == EFBIG;
  const bool denied = error_number == EACCES || error_number == EROFS || error_number == EPERM;
  throw_resource(full || denied ? str(what, "; ", kElsewhere) : what);
}

void make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw_disk(folder, "making the folder", error.value());
}

void rename_over(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::rename(from, to, error);
  if (error) throw_disk(to, "renaming", error.value());
}

void write_small(const fs::path& path, std::string_view text) {
  make_folder(path.parent_path());
  const fs::path beside = temporary_beside(path);
  errno = 0;
  std::ofstream out(beside, std::ios::binary);
  out << text;
  out.close();
  if (!out) {
    const int why = errno;
    std::error_code ignored;
    fs::remove(beside, ignored);
    throw_disk(path, "writing", why);
  }
  rename_over(beside, path);
}

fs::path temporary_beside(const fs::path& path) {
  static std::atomic<unsigned> count = 0;
  return path.parent_path() / str(".arkit-", ::getpid(), "-", count++, ".tmp");
}

void require_room(const fs::path& folder, int64_t bytes, std::string_view what) {
  std::error_code error;
  const fs::space_info space = fs::space(folder, error);
  if (error || bytes <= 0 || space.available >= static_cast<uintmax_t>(bytes)) return;
  throw_resource(str(what, ": needs ", in_bytes(static_cast<double>(bytes)), " more, and '", folder.string(), "' has ",
                     in_bytes(static_cast<double>(space.available)), " free; ", kElsewhere));
}

}  // namespace arkit::hub
