#include "jobs/source_hashes.h"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <set>
#include <span>

#include <fcntl.h>
#include <unistd.h>

#include <arkit/error.h>
#include <arkit/str.h>

#include "jobs/truncated_source.h"
#include "util/sha256.h"

namespace arkit {
namespace fs = std::filesystem;

namespace {

constexpr int64_t kLead = int64_t{256} << 20;  // reader and work are never further apart than this
constexpr size_t kPiece = size_t{1} << 20;
constexpr std::chrono::milliseconds kBetweenLooks{100};

class Descriptor {
 public:
  explicit Descriptor(const fs::path& path) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (fd_ < 0) throw_input(str("'", path.string(), "': cannot be opened (", std::strerror(errno), ")"));
    ::posix_fadvise(fd_, 0, 0, POSIX_FADV_SEQUENTIAL);
  }
  ~Descriptor() { ::close(fd_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  // Bytes read; 0 = end of the file.
  [[nodiscard]] size_t read(std::span<std::byte> buffer, const fs::path& path) const {
    while (true) {
      const ssize_t n = ::read(fd_, buffer.data(), buffer.size());
      if (n >= 0) return static_cast<size_t>(n);
      if (errno != EINTR) throw_input(str("'", path.string(), "': read error (", std::strerror(errno), ")"));
    }
  }

 private:
  int fd_;
};

}  // namespace

std::vector<fs::path> weight_files(const ModelSource& source, std::optional<int64_t> num_blocks) {
  // A file, which may be the first of several beside it.
  const bool is_file = fs::is_regular_file(source.path());
  const fs::path folder = is_file ? source.path().parent_path() : source.path();
  std::set<fs::path> paths;
  if (is_file) paths.insert(source.path());
  for (const TensorInfo& tensor : source.weights().tensors())
    if (!num_blocks || block_index(tensor.name) < *num_blocks) paths.insert(folder / tensor.file);
  return {paths.begin(), paths.end()};
}

SourceHashes::SourceHashes(const std::vector<fs::path>& files) {
  for (const fs::path& path : files)
    if (fs::is_regular_file(path)) files_.push_back({path, static_cast<int64_t>(fs::file_size(path)), {}});
}

void SourceHashes::start(bool paced) {
  if (thread_.joinable()) return;
  paced_ = paced;
  thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

void SourceHashes::pace(int64_t begin, int64_t end) {
  std::unique_lock lock(mutex_);
  if (!paced_) return;
  if (end > work_) work_ = end;
  moved_.notify_all();
  moved_.wait(lock, [&] { return finished_ || begin <= read_ + kLead; });
}

// The reader waits when it is far ahead of the work, the work when it is far ahead of the reader: never both, as the
// work says where it is before it waits.
void SourceHashes::advance(int64_t bytes, const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  read_ += bytes;
  if (!paced_) return;
  moved_.notify_all();
  moved_.wait(lock, stop, [&] { return !paced_ || read_ <= work_ + kLead; });
}

void SourceHashes::read(File& file, const std::stop_token& stop) {
  const Descriptor in(file.path);
  std::vector<std::byte> buffer(kPiece);
  Sha256 hash;
  while (!stop.stop_requested()) {
    const size_t n = in.read(buffer, file.path);
    if (n == 0) break;
    hash.update(std::span<const std::byte>(buffer.data(), n));
    advance(static_cast<int64_t>(n), stop);
  }
  file.sha256 = hash.hex();
}

void SourceHashes::run(const std::stop_token& stop) noexcept {
  try {
    for (File& file : files_) read(file, stop);
  } catch (...) {
    failure_ = std::current_exception();
  }
  const std::lock_guard lock(mutex_);
  finished_ = true;
  moved_.notify_all();
}

json::Array SourceHashes::wait(Reporter& reporter) {
  start();
  {
    std::unique_lock lock(mutex_);
    paced_ = false;
    moved_.notify_all();
    int64_t total = 0;
    for (const File& file : files_) total += file.bytes;
    bool told = false;
    for (; !moved_.wait_for(lock, kBetweenLooks, [&] { return finished_; }); told = true) {
      throw_if_interrupted();
      reporter.progress({"hashing the source", read_, total, kBytes});
    }
    if (told) reporter.progress({"hashing the source", total, total, kBytes});
  }
  thread_.join();
  if (failure_) std::rethrow_exception(failure_);
  json::Array files;
  for (const File& file : files_)
    files.push_back(
        json::Object{{"name", file.path.filename().string()}, {"bytes", file.bytes}, {"sha256", file.sha256}});
  return files;
}

}  // namespace arkit
