#include <arkit/lost_file.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <mutex>

#include <sys/mman.h>
#include <unistd.h>

#include <arkit/error.h>
#include <arkit/log.h>
#include <arkit/str.h>

#include "io/mapped_ranges.h"

namespace arkit {
namespace {

// A list that only grows, as a signal handler walks it: places of closed files are used again.
struct Range {
  std::atomic<uintptr_t> begin{0};  // 0 = free
  std::atomic<uintptr_t> end{0};
  std::string path;  // changed only while free
  Range* next = nullptr;
};

std::atomic<Range*> ranges{nullptr};
std::mutex growing;  // of writers; the handler takes none
std::atomic<const Range*> lost{nullptr};
long page_size = 4096;

const Range* range_of(uintptr_t address) {
  for (const Range* range = ranges.load(std::memory_order_acquire); range != nullptr; range = range->next) {
    const uintptr_t begin = range->begin.load(std::memory_order_acquire);
    if (begin != 0 && address >= begin && address < range->end.load(std::memory_order_acquire)) return range;
  }
  return nullptr;
}

// Only calls that are safe in a handler: mmap is a bare system call.
bool replace_with_zeros(uintptr_t address, const Range& range) {
  const uintptr_t page = address / static_cast<uintptr_t>(page_size) * static_cast<uintptr_t>(page_size);
  // Whatever lies behind a lost page is lost too, or of no use any more: one signal instead of one a page.
  void* zeros = ::mmap(reinterpret_cast<void*>(page), range.end.load() - page, PROT_READ,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  return zeros != MAP_FAILED;
}

extern "C" void on_bus_error(int, siginfo_t* info, void*) {
  const int before = errno;
  const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  const Range* range = info->si_code == BUS_ADRERR ? range_of(address) : nullptr;
  if (range != nullptr && replace_with_zeros(address, *range)) {
    const Range* none = nullptr;
    lost.compare_exchange_strong(none, range);
    request_interrupt();
  } else {
    std::signal(SIGBUS, SIG_DFL);  // not ours: the access is tried again and ends the process as ever
  }
  errno = before;
}

std::string message_for(const std::string& path) {
  return str("'", printable(path),
             "': became shorter while arkit read it (or its disk failed); do not change a model while arkit works on "
             "it, and run the command again; nothing was written");
}

}  // namespace

namespace io {

void add_mapped_range(const void* data, size_t size, const std::string& path) {
  const std::lock_guard lock(growing);
  Range* range = ranges.load();
  while (range != nullptr && (range->begin.load() != 0 || range == lost.load())) range = range->next;
  const bool grown = range == nullptr;
  if (grown) range = new Range;
  range->path = path;
  const auto begin = reinterpret_cast<uintptr_t>(data);
  range->end.store(begin + size);
  range->begin.store(begin, std::memory_order_release);
  if (!grown) return;
  range->next = ranges.load();
  ranges.store(range, std::memory_order_release);
}

void remove_mapped_range(const void* data) {
  const std::lock_guard lock(growing);
  for (Range* range = ranges.load(); range != nullptr; range = range->next)
    if (range->begin.load() == reinterpret_cast<uintptr_t>(data)) range->begin.store(0);
}

}  // namespace io

void watch_mapped_files() {
  page_size = ::sysconf(_SC_PAGESIZE);
  struct sigaction action {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;  // kernels that use the stack pointer otherwise give a stack
  ::sigaction(SIGBUS, &action, nullptr);
}

std::string lost_file() {
  const Range* range = lost.load();
  return range == nullptr ? std::string() : message_for(range->path);
}

void throw_if_file_lost() {
  if (const std::string message = lost_file(); !message.empty()) throw_input(message);
}

void throw_if_mapped(const void* address) {
  if (const Range* range = range_of(reinterpret_cast<uintptr_t>(address))) throw_input(message_for(range->path));
}

void forget_lost_file() noexcept {
  lost.store(nullptr);
}

}  // namespace arkit
