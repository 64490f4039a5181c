#pragma once
// Stacks between which one thread switches, for the emulator of thread blocks. A switch costs some 20 ns: after the first
// one no system call is made.

#include <csetjmp>
#include <cstddef>
#include <memory>

#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__)
#define ARKIT_FIBER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARKIT_FIBER_ASAN 1
#endif
#endif
#ifdef ARKIT_FIBER_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

namespace arkit::cuda::emulated {

// One side of a switch: a fiber, or the thread's own stack.
class Fiber {
 public:
  // The thread's own stack.
  Fiber() = default;
  // Begins with `entry` when it is switched to for the first time; `entry` calls begun() first and never returns.
  void prepare(void (*entry)()) {
    if (stack_ == nullptr) stack_ = std::make_unique<std::byte[]>(kStack);
    bottom_ = stack_.get();
    size_ = kStack;
    fresh_ = true;
    getcontext(&context_);
    context_.uc_stack.ss_sp = stack_.get();
    context_.uc_stack.ss_size = kStack;
    context_.uc_link = nullptr;
    makecontext(&context_, entry, 0);
  }

  // Returns when something switches back. `last`: nothing will.
  static void pass(Fiber& from, Fiber& to, [[maybe_unused]] bool last = false) {
#ifdef ARKIT_FIBER_ASAN
    __sanitizer_start_switch_fiber(last ? nullptr : &from.fake_, to.bottom_, to.size_);
    to.fresh_ = false;
    swapcontext(&from.context_, &to.context_);
    __sanitizer_finish_switch_fiber(from.fake_, nullptr, nullptr);
#else
    if (_setjmp(from.at_) != 0) return;
    if (!to.fresh_) _longjmp(to.at_, 1);
    to.fresh_ = false;
    setcontext(&to.context_);
#endif
  }
  static void begun([[maybe_unused]] Fiber& from) {
#ifdef ARKIT_FIBER_ASAN
    __sanitizer_finish_switch_fiber(nullptr, &from.bottom_, &from.size_);
#endif
  }

 private:
#ifdef ARKIT_FIBER_ASAN
  static constexpr size_t kStack = size_t{96} * 1024;
  void* fake_ = nullptr;
#else
  static constexpr size_t kStack = size_t{128} * 1024;
  jmp_buf at_{};
#endif
  std::unique_ptr<std::byte[]> stack_;
  ucontext_t context_{};
  const void* bottom_ = nullptr;
  size_t size_ = 0;
  bool fresh_ = false;
};

}  // namespace arkit::cuda::emulated
