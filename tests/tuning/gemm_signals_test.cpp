// A signal may come at any moment of a product, also while a kernel uses the stack pointer for something else.
#include <atomic>
#include <csignal>
#include <cstdint>
#include <ctime>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tuning/gemm.h"

namespace arkit::test {
namespace {

std::atomic<uintptr_t> stack_begin, stack_end;
std::atomic<int> on_stack, elsewhere;
void* hidden_page = nullptr;
constexpr size_t kPage = 4096;

void note(const void* local) {
  const auto here = reinterpret_cast<uintptr_t>(local);
  ++(here >= stack_begin && here < stack_end ? on_stack : elsewhere);
}

extern "C" void on_tick(int) {
  const char local = 0;
  note(&local);
}

extern "C" void on_hidden_page(int) {
  stack_t own{};
  ::sigaltstack(nullptr, &own);
  ++((own.ss_flags & SS_ONSTACK) != 0 ? on_stack : elsewhere);
  ::mprotect(hidden_page, kPage, PROT_READ);
}

class GemmSignals : public ::testing::TestWithParam<GemmLibrary> {
 protected:
  void SetUp() override {
    use_gemm_library(GetParam());
    if (gemm_library_for(at::kFloat) != GetParam()) GTEST_SKIP() << "needs libarkit_onednn.so (libdnnl-dev)";
    pthread_attr_t attributes;
    void* begin = nullptr;
    size_t size = 0;
    ASSERT_EQ(::pthread_getattr_np(::pthread_self(), &attributes), 0);
    ::pthread_attr_getstack(&attributes, &begin, &size);
    ::pthread_attr_destroy(&attributes);
    stack_begin = reinterpret_cast<uintptr_t>(begin);
    stack_end = stack_begin + size;
    on_stack = elsewhere = 0;
  }
  void TearDown() override { use_gemm_library(GemmLibrary::automatic); }
};

TEST_P(GemmSignals, FromOutsideFindTheStackOfTheThread) {
  struct sigaction action {
  }, before{};
  action.sa_handler = on_tick;
  ::sigaction(SIGALRM, &action, &before);
  sigevent to_this_thread{};
  to_this_thread.sigev_notify = SIGEV_THREAD_ID;
  to_this_thread.sigev_signo = SIGALRM;
  to_this_thread._sigev_un._tid = ::gettid();
  timer_t timer{};
  ASSERT_EQ(::timer_create(CLOCK_MONOTONIC, &to_this_thread, &timer), 0);
  const itimerspec often{{0, 100'000}, {0, 100'000}};
  const at::Tensor x = at::ones({64, 112}), w = at::ones({112, 112});  // small enough for one thread
  bool right = true;
  ::timer_settime(timer, 0, &often, nullptr);
  for (int i = 0; i < 20000 && on_stack < 1000 && elsewhere == 0; ++i)
    right = right && linear_forward(x, w, {}).sum().item<float>() == 802816;
  ::timer_delete(timer);
  ::sigaction(SIGALRM, &before, nullptr);
  EXPECT_TRUE(right);
  EXPECT_GT(on_stack, 10);
  EXPECT_EQ(elsewhere, 0) << "a frame was written over memory that is no stack";
}

TEST_P(GemmSignals, OfAnAccessFindAStackOfTheirOwn) {
  if (GetParam() != GemmLibrary::onednn) GTEST_SKIP() << "LibTorch's kernels leave the stack pointer alone";
  struct sigaction action {
  }, before{};
  action.sa_handler = on_hidden_page;
  action.sa_flags = SA_ONSTACK;
  hidden_page = ::mmap(nullptr, kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(hidden_page, MAP_FAILED);
  ::sigaction(SIGSEGV, &action, &before);
  const at::Tensor x = at::from_blob(hidden_page, {32, 32}, at::kFloat), w = at::ones({32, 32});
  const at::Tensor y = linear_forward(x, w, {});
  ::sigaction(SIGSEGV, &before, nullptr);
  EXPECT_EQ(y.abs().sum().item<float>(), 0);
  EXPECT_EQ(on_stack, 1);
  EXPECT_EQ(elsewhere, 0);
  ::munmap(hidden_page, kPage);
}

INSTANTIATE_TEST_SUITE_P(Libraries, GemmSignals, ::testing::Values(GemmLibrary::torch, GemmLibrary::onednn));

}  // namespace
}  // namespace arkit::test
