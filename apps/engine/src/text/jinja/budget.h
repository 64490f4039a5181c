#pragma once
// What one rendering may use. Every value of a template lives in the budget's memory and every operation is charged to
// it, so that no template can take more than the limits, whatever it combines (docs/adr/0027). Nothing is freed before
// the rendering ends: values are plain views, copies cost nothing, and no destructor can recurse.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace arkit::text::jinja {

// Throws ErrorCode::input: the template itself fails (a raised exception, a wrong type, an undefined value, a limit).
[[noreturn]] void fail(const std::string& message);

// Largest text or list one operation may make.
constexpr int64_t kMaxSize = int64_t{32} << 20;

class Budget {
 public:
  // Limits of a rendering whose variables hold `context_bytes` of text: a template may do a fixed amount of work, and
  // more where the conversation is long.
  explicit Budget(size_t context_bytes);
  ~Budget();
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

  // The budget of the rendering that runs on this thread.
  [[nodiscard]] static Budget& current() { return *current_; }

  // Memory, aligned for anything, which lasts as long as the budget.
  [[nodiscard]] void* allocate(size_t bytes);
  // A block of allocate() with `used` bytes in it, made larger in place or moved; or its unused end given back.
  [[nodiscard]] void* grow(void* block, size_t old_bytes, size_t used, size_t new_bytes);
  void shrink(void* block, size_t old_bytes, size_t new_bytes);

  // One unit is about what evaluating a small expression costs.
  void work(int64_t units = 1) {
    if ((done_ += units) >= next_check_) check();
  }
  // Reading through `count` bytes or comparing them.
  void scan(size_t count) { work(1 + static_cast<int64_t>(count / kBytesPerUnit)); }

  // One level of recursion, of whatever kind: the stack is finite.
  class Level {
   public:
    Level() : budget_(current()) {
      if (++budget_.depth_ > kMaxDepth) budget_.too_deep();
    }
    ~Level() { --budget_.depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    Budget& budget_;
  };

 private:
  static constexpr int kMaxDepth = 1000;
  static constexpr size_t kBytesPerUnit = 32;

  void check();
  [[noreturn]] void too_deep() const;

  static thread_local Budget* current_;
  Budget* const outer_;
  const int64_t max_bytes_, max_work_;
  const double max_seconds_, started_;
  int64_t bytes_ = 0, done_ = 0, next_check_ = 0;
  int depth_ = 0;
  char* top_ = nullptr;
  char* end_ = nullptr;
  std::vector<std::unique_ptr<char[]>> chunks_;
};

// std containers whose elements live in the current budget; elements are never destroyed there.
template <typename T>
struct Allocator {
  using value_type = T;
  Allocator() = default;
  template <typename U>
  Allocator(const Allocator<U>&) {}  // NOLINT: allocators convert
  [[nodiscard]] T* allocate(size_t count) {
    if (count > static_cast<size_t>(kMaxSize)) fail("a value of more than " + std::to_string(kMaxSize) + " items");
    return static_cast<T*>(Budget::current().allocate(count * sizeof(T)));
  }
  void deallocate(T*, size_t) {}
  template <typename U>
  bool operator==(const Allocator<U>&) const {
    return true;
  }
};

template <typename T>
[[nodiscard]] T* make_lasting(T value) {
  return new (Budget::current().allocate(sizeof(T))) T(std::move(value));
}

// A text in the making. Its view lasts as long as the budget.
class Text {
 public:
  Text& append(std::string_view text);
  Text& append(size_t count, char c);
  Text& operator+=(std::string_view text) { return append(text); }
  Text& operator+=(char c) { return append(1, c); }
  [[nodiscard]] std::string_view view() const { return {data_, size_}; }
  [[nodiscard]] std::string_view finish();  // gives back what is not used
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] size_t size() const { return size_; }

 private:
  void reserve(size_t more);
  char* data_ = nullptr;
  size_t size_ = 0, capacity_ = 0;
};

// The parts one after the other, in the budget's memory.
template <typename... Parts>
[[nodiscard]] std::string_view joined_text(const Parts&... parts) {
  Text text;
  (text += ... += parts);
  return text.finish();
}

}  // namespace arkit::text::jinja
