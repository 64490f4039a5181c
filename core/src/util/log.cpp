#include <arkit/log.h>

#include <atomic>

#include <arkit/error.h>
#include <arkit/lost_file.h>

namespace arkit {
namespace {
std::atomic<int> interrupt_requested = 0;  // of a signal, and read by all threads
static_assert(std::atomic<int>::is_always_lock_free);
}  // namespace

Reporter::~Reporter() = default;
void Reporter::step(std::string_view) {}
void Reporter::info(std::string_view) {}
void Reporter::warn(std::string_view) {}
void Reporter::block_done(const BlockProgress&) {}
void Reporter::progress(const Progress&) {}

void request_interrupt() noexcept {
  interrupt_requested = 1;
}
void clear_interrupt() noexcept {
  interrupt_requested = 0;
}
bool interrupted() noexcept {
  return interrupt_requested != 0;
}
void throw_if_interrupted() {
  if (!interrupted()) return;
  throw_if_file_lost();  // which asks for the same stop
  throw Error(ErrorCode::interrupted, "interrupted; partial files were removed");
}

}  // namespace arkit
