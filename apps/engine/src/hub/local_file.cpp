#include "hub/local_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <limits>

#include <arkit/error.h>
#include <arkit/input_file.h>
#include <arkit/str.h>

#include "hub/disk.h"

namespace arkit::hub {
namespace {

// Throws what is told of a call that the system refuses.
using Refuse = void (*)(const std::filesystem::path& path, std::string_view action, int error_number);

// As check_input_file() says it.
void refuse_input(const std::filesystem::path& path, std::string_view /*action*/, int error_number) {
  throw_input(str("'", printable(path.string()), "': cannot be read (", std::strerror(error_number), ")"));
}

class LocalFile final : public RandomAccess {
 public:
  LocalFile(const std::filesystem::path& path, Refuse refuse)
      : path_(path), what_(str("'", printable(path.string()), "'")), refuse_(refuse) {
    descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat status {};
    if (descriptor_ < 0 || ::fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) {
      const int why = descriptor_ < 0 ? errno : EINVAL;
      close();
      refuse_(path, "opening", why);
    }
    size_ = status.st_size;
  }
  ~LocalFile() override { close(); }
  LocalFile(const LocalFile&) = delete;
  LocalFile& operator=(const LocalFile&) = delete;

  [[nodiscard]] int64_t size() const override { return size_; }

  void read(int64_t offset, int64_t count, void* to) override {
    require_inside(offset, count, size_, what_);
    for (int64_t done = 0; done < count;) {
      const ssize_t got =
          ::pread(descriptor_, static_cast<char*>(to) + done, static_cast<size_t>(count - done), offset + done);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) refuse_(path_, "reading", errno);
      if (got == 0) throw_input(str(what_, ": became shorter while it was read; start again"));
      done += got;
    }
  }

 private:
  void close() const {
    if (descriptor_ >= 0) ::close(descriptor_);
  }

  const std::filesystem::path path_;
  const std::string what_;
  const Refuse refuse_;
  int descriptor_ = -1;
  int64_t size_ = 0;
};

}  // namespace

std::unique_ptr<RandomAccess> open_local_file(const std::filesystem::path& path, std::string_view where) {
  check_input_file(path, std::numeric_limits<int64_t>::max(), where);
  return std::make_unique<LocalFile>(path, refuse_input);
}

std::unique_ptr<RandomAccess> open_cached_file(const std::filesystem::path& path) {
  return std::make_unique<LocalFile>(path, throw_disk);
}

void require_inside(int64_t offset, int64_t count, int64_t size, const std::string& what) {
  if (offset < 0 || count < 0 || offset > size || count > size - offset)
    throw_input(str(what, ": bytes ", offset, " to ", offset, "+", count, " are asked for, and it has ", size));
}

}  // namespace arkit::hub
