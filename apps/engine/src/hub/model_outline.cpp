#include "hub/model_outline.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <exception>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>

#include <fcntl.h>
#include <unistd.h>

#include <arkit/str.h>

#include "hub/disk.h"
#include "hub/stop.h"
#include "hub/weight_header.h"

namespace arkit::hub {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kFirstBytes = 8;                   // a header's length: no data may come along
constexpr int64_t kLargestSum = int64_t{512} << 20;  // of all headers; real ones have some MB

class Descriptor {
 public:
  explicit Descriptor(const fs::path& path)
      : path_(path), fd_(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) {
    if (fd_ < 0) throw_disk(path_, "creating", errno);
  }
  ~Descriptor() { ::close(fd_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  void write(std::string_view bytes) const {
    for (size_t done = 0; done < bytes.size();) {
      const ssize_t n = ::write(fd_, bytes.data() + done, bytes.size() - done);
      if (n < 0 && errno != EINTR) throw_disk(path_, "writing", errno);
      if (n > 0) done += static_cast<size_t>(n);
    }
  }
  void grow(int64_t size) const {
    if (::ftruncate(fd_, size) != 0) throw_disk(path_, "enlarging", errno);
  }

 private:
  const fs::path& path_;
  int fd_;
};

struct Outlines {
  std::mutex mutex;
  std::map<fs::path, std::string> ids;
};

Outlines& outlines() {
  static Outlines all;
  return all;
}

}  // namespace

ModelOutline::ModelOutline(Hub& hub, const Snapshot& snapshot, const fs::path& folder,
                           const std::vector<std::string>& texts, const std::vector<std::string>& weights,
                           int parallel) {
  std::error_code error;
  std::string made = (fs::canonical(fs::temp_directory_path(error), error) / "arkit-outline-XXXXXX").string();
  if (error || ::mkdtemp(made.data()) == nullptr)
    throw_disk(made, "making a temporary folder", error ? error.value() : errno);
  temporary_ = made;
  path_ = temporary_ / snapshot.repo.id.substr(snapshot.repo.id.rfind('/') + 1);
  try {
    make_folder(path_);
    for (const std::string& text : texts) {
      make_folder((path_ / text).parent_path());
      fs::create_symlink(fs::absolute(folder / text), path_ / text, error);
      if (error) throw_disk(path_ / text, "linking", error.value());
    }
    for (const std::string& file : weights) make_folder((path_ / file).parent_path());
    std::atomic<size_t> next = 0;
    std::atomic<int64_t> sum = 0;
    std::exception_ptr failed;
    std::mutex failed_mutex;
    const auto work = [&] {
      try {
        for (size_t i = next++; i < weights.size(); i = next++) {
          stop_if_interrupted();
          const auto file = hub.open(snapshot, weights[i]);
          const fs::path place = path_ / weights[i];
          const Descriptor to(place);
          to.write(weight_header(*file, kFirstBytes, [&](int64_t bytes) {
            if ((sum += bytes) > kLargestSum)
              throw_resource(str("the headers of its weights have more than ", kLargestSum >> 20, " MiB"));
          }));
          to.grow(file->size());
        }
      } catch (...) {
        const std::lock_guard lock(failed_mutex);
        if (failed == nullptr) failed = std::current_exception();
        next = weights.size();
      }
    };
    std::vector<std::thread> others;
    for (size_t i = 1; i < std::min(weights.size(), static_cast<size_t>(std::max(parallel, 1))); ++i)
      others.emplace_back(work);
    work();
    for (std::thread& thread : others) thread.join();
    if (failed != nullptr) std::rethrow_exception(failed);
  } catch (...) {
    remove();
    throw;
  }
  const std::lock_guard lock(outlines().mutex);
  outlines().ids.emplace(path_, snapshot.repo.id);
}

ModelOutline::~ModelOutline() {
  {
    const std::lock_guard lock(outlines().mutex);
    outlines().ids.erase(path_);
  }
  remove();
}

void ModelOutline::remove() noexcept {
  std::error_code error;
  fs::remove_all(temporary_, error);
}

std::optional<std::string> outlined_id(const fs::path& path) {
  const std::lock_guard lock(outlines().mutex);
  const auto found = outlines().ids.find(path);
  return found == outlines().ids.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace arkit::hub
