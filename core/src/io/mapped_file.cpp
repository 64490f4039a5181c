#include <arkit/mapped_file.h>

#include <cerrno>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <arkit/error.h>
#include <arkit/input_file.h>
#include <arkit/str.h>

#include "io/late_file.h"
#include "io/mapped_ranges.h"

namespace arkit {
namespace {

std::mutex late_files_mutex;
std::map<std::filesystem::path, std::shared_ptr<io::LateFile>> late_files;

// The page-aligned range that covers [offset, offset + size), cut to the mapping.
std::span<std::byte> covering_pages(std::span<const std::byte> map, size_t offset, size_t size) {
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  if (offset >= map.size() || size == 0) return {};
  const size_t begin = offset / page * page;
  const size_t end = size > map.size() - offset ? map.size() : offset + size;
  return {const_cast<std::byte*>(map.data()) + begin, end - begin};
}

}  // namespace

void io::set_late_file(const std::filesystem::path& path, std::shared_ptr<LateFile> file) {
  const std::lock_guard lock(late_files_mutex);
  late_files.erase(path);
  if (file != nullptr) late_files.emplace(path, std::move(file));
}

std::shared_ptr<io::LateFile> io::late_file(const std::filesystem::path& path) {
  const std::lock_guard lock(late_files_mutex);
  const auto found = late_files.find(path);
  return found == late_files.end() ? nullptr : found->second;
}

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  // O_NONBLOCK: opening a FIFO that somebody planted must not hang.
  fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd_ < 0) {
    const int error = errno;
    check_input_file(path, std::numeric_limits<int64_t>::max());  // a socket, nothing at all
    throw_input(str("'", path.string(), "': cannot be opened (", std::strerror(error), ")"));
  }
  struct stat status {};
  const bool regular = ::fstat(fd_, &status) == 0 && S_ISREG(status.st_mode);
  if (!regular) {
    ::close(fd_);
    check_input_file(path, std::numeric_limits<int64_t>::max());
    throw_input(str("'", path.string(), "': is not a regular file"));  // it was another one a moment ago
  }
  const auto late = io::late_file(path);
  size_ = static_cast<size_t>(late ? late->size() : status.st_size);
  if (size_ == 0) return;
  void* data = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, fd_, 0);
  if (data == MAP_FAILED) {
    const int error = errno;
    ::close(fd_);
    throw_resource(str("'", path.string(), "': ", size_, " bytes cannot be mapped (", std::strerror(error), ")"));
  }
  data_ = static_cast<const std::byte*>(data);
  io::add_mapped_range(data_, size_, path.string());
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) {
    io::remove_mapped_range(data_);
    ::munmap(const_cast<std::byte*>(data_), size_);
  }
  if (fd_ >= 0) ::close(fd_);
}

void MappedFile::require_unchanged() const {
  struct stat status {};
  if (::fstat(fd_, &status) != 0 || status.st_size < static_cast<off_t>(size_))
    throw_input(str("'", path_.string(), "': has ", status.st_size, " bytes now, it had ", size_,
                    " when it was opened; do not change a model while arkit reads it"));
}

void MappedFile::will_need(size_t offset, size_t size) const noexcept {
  const auto range = covering_pages(bytes(), offset, size);
  if (!range.empty()) ::madvise(range.data(), range.size(), MADV_WILLNEED);
}

void MappedFile::release(size_t offset, size_t size) const noexcept {
  const auto range = covering_pages(bytes(), offset, size);
  if (!range.empty()) ::madvise(range.data(), range.size(), MADV_DONTNEED);
}

}  // namespace arkit
