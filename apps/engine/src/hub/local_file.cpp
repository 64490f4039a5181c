#include "hub/local_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <limits>
#include <string>

#include <arkit/error.h>
#include <arkit/input_file.h>
#include <arkit/str.h>

namespace arkit::hub {
namespace {

class LocalFile final : public RandomAccess {
 public:
  explicit LocalFile(const std::filesystem::path& path) : name_(printable(path.string())) {
    descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat status {};
    if (descriptor_ < 0 || ::fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) {
      close();
      throw_input(str("'", name_, "': cannot be read"));
    }
    size_ = status.st_size;
  }
  ~LocalFile() override { close(); }
  LocalFile(const LocalFile&) = delete;
  LocalFile& operator=(const LocalFile&) = delete;

  [[nodiscard]] int64_t size() const override { return size_; }

  void read(int64_t offset, int64_t count, void* to) override {
    if (offset < 0 || count < 0 || offset > size_ || count > size_ - offset)
      throw_input(str("'", name_, "': bytes ", offset, " to ", offset, " + ", count, " are outside its ", size_));
    for (int64_t done = 0; done < count;) {
      const ssize_t got =
          ::pread(descriptor_, static_cast<char*>(to) + done, static_cast<size_t>(count - done), offset + done);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) throw_input(str("'", name_, "': read error at byte ", offset + done));
      if (got == 0) throw_input(str("'", name_, "': became shorter while it was read; start again"));
      done += got;
    }
  }

 private:
  void close() const {
    if (descriptor_ >= 0) ::close(descriptor_);
  }

  std::string name_;
  int descriptor_ = -1;
  int64_t size_ = 0;
};

}  // namespace

std::unique_ptr<RandomAccess> open_local_file(const std::filesystem::path& path, std::string_view where) {
  check_input_file(path, std::numeric_limits<int64_t>::max(), where);
  return std::make_unique<LocalFile>(path);
}

}  // namespace arkit::hub
