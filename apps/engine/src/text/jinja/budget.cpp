#include "text/jinja/budget.h"

#include <algorithm>
#include <cstring>
#include <ctime>
#include <utility>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::text::jinja {
namespace {

// Of a template alone. A long conversation with tools takes some ten thousand units and less than a megabyte.
constexpr int64_t kBaseBytes = int64_t{64} << 20;
constexpr int64_t kBaseWork = 4'000'000;
constexpr double kBaseSeconds = 1.5;
// More for each byte of the variables. The exact figures do not matter: they are far from what real templates need and
// keep the whole bounded by a multiple of what the user gave.
constexpr int64_t kBytesPerByte = 64;
constexpr int64_t kWorkPerByte = 8;
constexpr double kSecondsPerByte = 4e-6;

constexpr int64_t kCheckInterval = 1 << 16;  // units between two looks at the clock
constexpr size_t kFirstChunk = size_t{16} << 10;
constexpr size_t kLargestChunk = size_t{1} << 20;
constexpr size_t kAlignment = alignof(std::max_align_t);

double thread_seconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

size_t aligned(size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

thread_local Budget* Budget::current_ = nullptr;

void fail(const std::string& message) {
  throw_input("chat template: " + message);
}

Budget::Budget(size_t context_bytes)
    : outer_(current_),
      max_bytes_(kBaseBytes + kBytesPerByte * static_cast<int64_t>(context_bytes)),
      max_work_(kBaseWork + kWorkPerByte * static_cast<int64_t>(context_bytes)),
      max_seconds_(kBaseSeconds + kSecondsPerByte * static_cast<double>(context_bytes)),
      started_(thread_seconds()),
      next_check_(kCheckInterval) {
  current_ = this;
}

Budget::~Budget() {
  current_ = outer_;
}

void* Budget::allocate(size_t bytes) {
  const size_t size = aligned(std::max<size_t>(bytes, 1));
  if (static_cast<int64_t>(size) > max_bytes_ - bytes_)
    fail(str("it makes more than ", max_bytes_, " bytes of text and values, the limit of one rendering"));
  if (size > static_cast<size_t>(end_ - top_)) {
    const size_t chunk = std::max(size, std::min(kFirstChunk << std::min<size_t>(chunks_.size(), 16), kLargestChunk));
    chunks_.emplace_back(new char[chunk]);  // not filled: pages that nobody touches cost nothing
    top_ = chunks_.back().get();
    end_ = top_ + chunk;
  }
  bytes_ += static_cast<int64_t>(size);
  return std::exchange(top_, top_ + size);
}

void* Budget::grow(void* block, size_t old_bytes, size_t used, size_t new_bytes) {
  char* const begin = static_cast<char*>(block);
  if (block != nullptr && begin + aligned(old_bytes) == top_ &&
      aligned(new_bytes) <= static_cast<size_t>(end_ - begin)) {
    (void)allocate(aligned(new_bytes) - aligned(old_bytes));
    return block;
  }
  void* const moved = allocate(new_bytes);
  if (used > 0) std::memcpy(moved, block, used);
  return moved;
}

void Budget::shrink(void* block, size_t old_bytes, size_t new_bytes) {
  char* const begin = static_cast<char*>(block);
  if (block == nullptr || begin + aligned(old_bytes) != top_) return;
  top_ = begin + aligned(new_bytes);
  bytes_ -= static_cast<int64_t>(aligned(old_bytes) - aligned(new_bytes));
}

void Budget::check() {
  if (done_ > max_work_) fail(str("it runs for more than ", max_work_, " steps, the limit of one rendering"));
  if (thread_seconds() - started_ > max_seconds_)
    fail(str("it runs for more than ", max_seconds_, " s, the limit of one rendering"));
  next_check_ = std::min(done_ + kCheckInterval, max_work_ + 1);
}

void Budget::too_deep() const {
  fail(str("its blocks, expressions, macros or values are nested more than ", kMaxDepth, " deep"));
}

Text& Text::append(std::string_view text) {
  if (text.empty()) return *this;
  reserve(text.size());
  std::memcpy(data_ + size_, text.data(), text.size());
  size_ += text.size();
  return *this;
}

Text& Text::append(size_t count, char c) {
  if (count == 0) return *this;
  reserve(count);
  std::memset(data_ + size_, c, count);
  size_ += count;
  return *this;
}

void Text::reserve(size_t more) {
  if (more <= capacity_ - size_) return;
  if (more > static_cast<size_t>(kMaxSize) - size_) fail(str("a text of more than ", kMaxSize, " bytes"));
  const size_t wanted = std::max({size_ + more, std::min(capacity_ * 2, static_cast<size_t>(kMaxSize)), size_t{32}});
  data_ = static_cast<char*>(Budget::current().grow(data_, capacity_, size_, wanted));
  capacity_ = wanted;
  // Writing is charged here, where the text doubles.
  Budget::current().scan(wanted);
}

std::string_view Text::finish() {
  Budget::current().shrink(data_, capacity_, size_);
  capacity_ = size_;
  return view();
}

}  // namespace arkit::text::jinja
