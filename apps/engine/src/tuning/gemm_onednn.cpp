#include "tuning/gemm_onednn.h"

#include <omp.h>
#include <pthread.h>

#include <csignal>
#include <cstddef>
#include <exception>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include <oneapi/dnnl/dnnl_debug.h>
#include <oneapi/dnnl/dnnl.hpp>

namespace arkit::onednn {
namespace {

using dnnl::memory;

const dnnl::engine& cpu() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

memory::data_type data_type(Type type) {
  return type == Type::f32 ? memory::data_type::f32 : memory::data_type::bf16;
}

// Row-major [rows, cols] with rows `distance` apart, or its transpose in place.
memory::desc matrix(int64_t rows, int64_t cols, int64_t distance, bool transposed, Type type) {
  const memory::dims strides = transposed ? memory::dims{1, distance} : memory::dims{distance, 1};
  return {{rows, cols}, data_type(type), strides};
}

struct Plan {
  Product product;
  memory::desc a, b, c, scratchpad;
  dnnl::matmul primitive;
};

// OpenMP promises one thread while this lives.
class OneThread {
 public:
  OneThread() { omp_set_num_threads(1); }
  ~OneThread() { omp_set_num_threads(before_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_ = omp_get_max_threads();
};

// A stack for signal handlers of the thread that it belongs to.
class HandlerStack {
 public:
  HandlerStack() {
    ::sigaltstack(nullptr, &before_);
    if ((before_.ss_flags & SS_DISABLE) == 0) return;  // somebody gave it one
    memory_ = std::make_unique<std::byte[]>(kBytes);
    stack_t own{};
    own.ss_sp = memory_.get();
    own.ss_size = kBytes;
    ::sigaltstack(&own, nullptr);
  }
  ~HandlerStack() {
    if (memory_ != nullptr) ::sigaltstack(&before_, nullptr);
  }
  HandlerStack(const HandlerStack&) = delete;
  HandlerStack& operator=(const HandlerStack&) = delete;

 private:
  static constexpr size_t kBytes = 64 << 10;
  stack_t before_{};
  std::unique_ptr<std::byte[]> memory_;
};

// oneDNN's float kernels use the stack pointer as one more register, and let it point into their buffer on the heap: the
// kernel of the system would write the frame of a signal in front of that buffer (docs/adr/0064). While this lives,
// signals from outside wait or go to another thread; those of an access (SIGBUS of a file cut short) cannot wait and
// find a stack of their own where their handler asks for it (SA_ONSTACK).
class Undisturbed {
 public:
  Undisturbed() {
    thread_local const HandlerStack stack;
    sigset_t outside;
    ::sigfillset(&outside);
    for (const int own : {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT}) ::sigdelset(&outside, own);
    ::pthread_sigmask(SIG_BLOCK, &outside, &before_);
  }
  ~Undisturbed() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  Undisturbed(const Undisturbed&) = delete;
  Undisturbed& operator=(const Undisturbed&) = delete;

 private:
  sigset_t before_{};
};

Plan compile(const Product& product) {
  const memory::desc a = matrix(product.m, product.k, product.lda, product.trans_a, product.in);
  const memory::desc b = matrix(product.k, product.n, product.ldb, product.trans_b, product.in);
  const memory::desc c = matrix(product.m, product.n, product.ldc, false, product.out);
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);  // the library's own belongs to the thread that compiled
  const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(a, b, c), attributes, cpu());
  return {product, a, b, c, description.scratchpad_desc(), dnnl::matmul(description)};
}

// Compiled products; a model has a few dozen shapes, so a list is enough.
Plan plan_for(const Product& product) {
  constexpr size_t kMost = 512;
  static std::mutex mutex;
  static std::vector<Plan> plans;
  const std::lock_guard lock(mutex);
  for (const Plan& plan : plans)
    if (plan.product == product) return plan;
  if (plans.size() == kMost) plans.clear();
  plans.push_back(compile(product));
  return plans.back();
}

// Memory of this thread for intermediate results.
void* scratchpad(size_t bytes) {
  constexpr size_t kAlignment = 64;
  thread_local std::vector<std::byte> buffer;
  if (buffer.size() < bytes + kAlignment) buffer.resize(bytes + kAlignment);
  void* begin = buffer.data();
  size_t space = buffer.size();
  return std::align(kAlignment, bytes, begin, space);
}

void multiply(const Product& product, const void* a, const void* b, void* c) {
  const OneThread one;
  const Undisturbed undisturbed;
  Plan plan = plan_for(product);
  dnnl::stream stream(cpu());
  plan.primitive.execute(
      stream, {{DNNL_ARG_SRC, memory(plan.a, cpu(), const_cast<void*>(a))},
               {DNNL_ARG_WEIGHTS, memory(plan.b, cpu(), const_cast<void*>(b))},
               {DNNL_ARG_DST, memory(plan.c, cpu(), c)},
               {DNNL_ARG_SCRATCHPAD, memory(plan.scratchpad, cpu(), scratchpad(plan.scratchpad.get_size()))}});
  stream.wait();
}

}  // namespace
}  // namespace arkit::onednn

// oneDNN's exceptions stay inside: their type_info is this module's.
extern "C" __attribute__((visibility("default"))) const char* arkit_onednn_product(
    const arkit::onednn::Product& product, const void* a, const void* b, void* c) {
  const dnnl_version_t* version = dnnl_version();
  if (version->major != DNNL_VERSION_MAJOR) return "oneDNN of another major version was loaded";
  try {
    arkit::onednn::multiply(product, a, b, c);
    return nullptr;
  } catch (const dnnl::error& error) {
    return dnnl_status2str(error.status);
  } catch (const std::exception&) {
    return "out of memory";
  }
}
