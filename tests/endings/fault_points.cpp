#include "endings/fault_points.h"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <mutex>
#include <set>
#include <string>

#include <dlfcn.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <arkit/error.h>

namespace arkit::testing {
namespace {

std::atomic<int> counted{0}, target{0}, error{0};
std::atomic<Fault> armed{Fault::none};
std::atomic<bool> has_fired{false}, no_exchange{false}, no_links{false}, no_folder_locks{false};

Counted counted_kind = Counted::all;
std::string counted_name;

std::mutex syncing;
std::set<uint64_t> synced, at_move;

void note_sync(int descriptor) {
  struct stat state {};
  const std::lock_guard lock(syncing);
  if (::fstat(descriptor, &state) == 0) synced.insert(state.st_ino);
}

// Files that are still written move from NAME.part to NAME; what moves out of the staging folder is finished.
void note_move(const std::string& from) {
  const bool finished = from.find(".arkit-part/new") != std::string::npos && !from.ends_with(".part");
  const std::lock_guard lock(syncing);
  if (finished && at_move.empty()) at_move = synced;
}

// Is this one of the calls that are counted? Of a move, `path` is both its names.
bool counts(Counted kind, const std::string& path) {
  if (counted_kind == Counted::all) return true;
  if (counted_kind != kind) return false;
  if (kind == Counted::a_file) return path.ends_with(counted_name);
  return path.find(".arkit-part/") != std::string::npos && path.find(".part\n") == std::string::npos;
}

// True when this call has to fail; errno says why.
bool hit(Counted kind = Counted::all, const std::string& path = {}) {
  if (target == 0 || !counts(kind, path) || ++counted != target) return false;
  has_fired = true;
  if (armed == Fault::kill) ::kill(::getpid(), SIGKILL);
  errno = error;
  return armed == Fault::fail;
}

template <typename Function>
Function* real(Function*& known, const char* name) {
  if (known == nullptr) known = reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
  return known;
}

}  // namespace

void arm(Fault fault, int at, int error_number) {
  counted = 0;
  has_fired = false;
  armed = fault;
  error = error_number;
  target = at;
  synced.clear();
  at_move.clear();
}
const std::set<uint64_t>& synced_before_move() {
  return at_move;
}
void count(Counted which, const std::string& name) {
  counted_kind = which;
  counted_name = name;
}
void disarm() {
  target = 0;
}
bool fired() {
  return has_fired;
}
int calls() {
  return counted;
}
End end_in_child(const FaultAt& fault, const std::function<void()>& run) {
  const pid_t child = ::fork();
  if (child == 0) {
    count(fault.counted);
    arm(fault.fault, fault.at, fault.error_number);
    End end = End::well;
    try {
      run();
      if (fired()) end = End::well_in_spite;
    } catch (const Error&) {
      end = End::with_an_error;
    }
    ::_exit(static_cast<int>(end));
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return WIFSIGNALED(status) ? End::killed : static_cast<End>(WEXITSTATUS(status));
}
void forbid_exchange(bool forbidden) {
  no_exchange = forbidden;
}
void forbid_folder_locks(bool forbidden) {
  no_folder_locks = forbidden;
}
void forbid_links(bool forbidden) {
  no_links = forbidden;
}

}  // namespace arkit::testing

using arkit::testing::Counted;
using arkit::testing::hit;
using arkit::testing::real;

#define VISIBLE __attribute__((visibility("default")))

extern "C" {

VISIBLE int rename(const char* from, const char* to) noexcept {
  static int (*next)(const char*, const char*) = nullptr;
  arkit::testing::note_move(from);
  return hit(Counted::moves, std::string(from) + "\n" + to) ? -1 : real(next, "rename")(from, to);
}
VISIBLE int renameat2(int from_folder, const char* from, int to_folder, const char* to, unsigned flags) noexcept {
  static int (*next)(int, const char*, int, const char*, unsigned) = nullptr;
  if (arkit::testing::no_exchange && (flags & RENAME_EXCHANGE) != 0) {
    errno = EINVAL;
    return -1;
  }
  arkit::testing::note_move(from);
  return hit(Counted::moves, std::string(from) + "\n" + to)
             ? -1
             : real(next, "renameat2")(from_folder, from, to_folder, to, flags);
}
VISIBLE int linkat(int from_folder, const char* from, int to_folder, const char* to, int flags) noexcept {
  static int (*next)(int, const char*, int, const char*, int) = nullptr;
  if (arkit::testing::no_links) {
    errno = EPERM;
    return -1;
  }
  return hit() ? -1 : real(next, "linkat")(from_folder, from, to_folder, to, flags);
}
VISIBLE int flock(int descriptor, int operation) noexcept {
  static int (*next)(int, int) = nullptr;
  struct stat state {};
  if (arkit::testing::no_folder_locks && ::fstat(descriptor, &state) == 0 && S_ISDIR(state.st_mode)) {
    errno = EBADF;
    return -1;
  }
  return real(next, "flock")(descriptor, operation);
}
VISIBLE int unlink(const char* path) noexcept {
  static int (*next)(const char*) = nullptr;
  return hit() ? -1 : real(next, "unlink")(path);
}
VISIBLE int unlinkat(int folder, const char* path, int flags) noexcept {
  static int (*next)(int, const char*, int) = nullptr;
  return hit() ? -1 : real(next, "unlinkat")(folder, path, flags);
}
VISIBLE int rmdir(const char* path) noexcept {
  static int (*next)(const char*) = nullptr;
  return hit() ? -1 : real(next, "rmdir")(path);
}
VISIBLE int mkdir(const char* path, mode_t mode) noexcept {
  static int (*next)(const char*, mode_t) = nullptr;
  return hit() ? -1 : real(next, "mkdir")(path, mode);
}
VISIBLE int chmod(const char* path, mode_t mode) noexcept {
  static int (*next)(const char*, mode_t) = nullptr;
  return hit() ? -1 : real(next, "chmod")(path, mode);
}
// Nothing here is about power failures, and waiting for a disk hundreds of times takes minutes.
VISIBLE int fsync(int descriptor) {
  arkit::testing::note_sync(descriptor);
  return hit() ? -1 : 0;
}
VISIBLE ssize_t pwrite(int descriptor, const void* data, size_t size, off_t offset) {
  static ssize_t (*next)(int, const void*, size_t, off_t) = nullptr;
  return hit() ? -1 : real(next, "pwrite")(descriptor, data, size, offset);
}
VISIBLE int fallocate(int descriptor, int mode, off_t offset, off_t size) {
  static int (*next)(int, int, off_t, off_t) = nullptr;
  return hit() ? -1 : real(next, "fallocate")(descriptor, mode, offset, size);
}
VISIBLE int open(const char* path, int flags, ...) {
  static int (*next)(const char*, int, ...) = nullptr;
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  if ((flags & O_CREAT) != 0 && hit(Counted::a_file, path)) return -1;
  return real(next, "open")(path, flags, mode);
}

}  // extern "C"
