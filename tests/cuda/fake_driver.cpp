// libcuda.so.1 without hardware: two GPUs whose kernels the emulator runs, and one that is too old. Their memory crashes
// whoever reads it outside of a kernel or copy, and nothing of a stream runs before it is synchronized. What a launch
// finds wrong comes out of the synchronization, as on a GPU; errors say the emulator's words on stderr.
// ARKIT_TEST_CUDA_VERSION is what the driver says it knows; ARKIT_TEST_CUDA_MEMORY how many bytes there are to allocate.
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <vector>

#include "marlin_kernels.h"
#ifdef ARKIT_TEST_TRITON_LIKE
#include "triton_like_kernels.h"
#endif

namespace {

namespace emulated = arkit::cuda::emulated;

constexpr int kFine = 0, kInvalid = 1, kOutOfMemory = 2, kNotFound = 500, kLaunchFailed = 719;

struct Stream {
  std::vector<std::function<void()>> work;
};

struct State {
  std::mutex mutex;
  std::map<unsigned long long, size_t> buffers;
  size_t used = 0;
  int contexts = 0;

  ~State() {
    if (buffers.empty() && contexts == 0) return;
    std::fprintf(stderr, "fake driver: %zu buffers and %d contexts were never given back\n", buffers.size(), contexts);
    std::abort();
  }
  void protect(int how) {
    for (const auto& [at, bytes] : buffers)
      if (::mprotect(reinterpret_cast<void*>(at), bytes, how) != 0) std::abort();
  }
  bool has(unsigned long long at, size_t bytes) {
    auto after = buffers.upper_bound(at);
    if (after == buffers.begin()) return false;
    --after;
    return at + bytes <= after->first + after->second;
  }
};

State& state() {
  static State all;
  return all;
}

size_t limit() {
  const char* text = std::getenv("ARKIT_TEST_CUDA_MEMORY");
  return text == nullptr ? size_t{1} << 30 : static_cast<size_t>(std::atoll(text));
}

thread_local int depth = 0;  // of contexts pushed by this thread

int with_context(const std::function<int()>& call) {
  if (depth == 0) {
    std::fprintf(stderr, "fake driver: a call without a context\n");
    return 201;
  }
  return call();
}

void fault(const char* what) {
  std::fprintf(stderr, "fake driver: %s\n", what);
  throw emulated::Fault(what);
}

}  // namespace

#define FAKE extern "C" __attribute__((visibility("default"))) int

FAKE cuInit(unsigned) {
  return kFine;
}
FAKE cuDriverGetVersion(int* version) {
  const char* text = std::getenv("ARKIT_TEST_CUDA_VERSION");
  *version = text == nullptr ? 13000 : std::atoi(text);
  return kFine;
}
FAKE cuDeviceGetCount(int* count) {
  *count = 3;
  return kFine;
}
FAKE cuDeviceGet(int* device, int ordinal) {
  *device = ordinal;
  return kFine;
}
FAKE cuDeviceGetName(char* name, int length, int device) {
  std::snprintf(name, static_cast<size_t>(length), device == 1 ? "Emulated Turing" : "Emulated Ampere");
  return kFine;
}
FAKE cuDeviceGetAttribute(int* value, int attribute, int device) {
  if (attribute == 16)
    *value = 6;
  else if (attribute == 75)
    *value = device == 1 ? 7 : 8;
  else if (attribute == 76)
    *value = device == 1 ? 5 : 0;
  else
    return kInvalid;
  return kFine;
}
FAKE cuDeviceTotalMem_v2(size_t* bytes, int) {
  *bytes = limit();
  return kFine;
}
FAKE cuDevicePrimaryCtxRetain(void** context, int device) {
  const std::lock_guard lock(state().mutex);
  ++state().contexts;
  *context = reinterpret_cast<void*>(static_cast<uintptr_t>(device) + 1);
  return kFine;
}
FAKE cuDevicePrimaryCtxRelease_v2(int) {
  const std::lock_guard lock(state().mutex);
  --state().contexts;
  return kFine;
}
FAKE cuCtxPushCurrent_v2(void*) {
  ++depth;
  return kFine;
}
FAKE cuCtxPopCurrent_v2(void** context) {
  --depth;
  *context = nullptr;
  return kFine;
}
FAKE cuModuleLoadData(void** module, const void* image) {
  return with_context([&] {
    *module = const_cast<void*>(image);
    return kFine;
  });
}
FAKE cuModuleUnload(void*) {
  return kFine;
}
FAKE cuModuleGetFunction(const void** function, void*, const char* name) {
  const auto found = emulated::kernels().find(name);
  if (found == emulated::kernels().end()) return kNotFound;
  *function = found->second;
  return kFine;
}
FAKE cuFuncSetAttribute(void*, int, int) {
  return kFine;
}
FAKE cuMemAlloc_v2(unsigned long long* at, size_t bytes) {
  return with_context([&] {
    const std::lock_guard lock(state().mutex);
    if (bytes == 0) return kInvalid;
    if (state().used + bytes > limit()) return kOutOfMemory;
    void* pages = ::mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) return kOutOfMemory;
    state().used += bytes;
    *at = reinterpret_cast<unsigned long long>(pages);
    state().buffers[*at] = bytes;
    return kFine;
  });
}
FAKE cuMemFree_v2(unsigned long long at) {
  return with_context([&] {
    const std::lock_guard lock(state().mutex);
    const auto found = state().buffers.find(at);
    if (found == state().buffers.end()) return kInvalid;
    ::munmap(reinterpret_cast<void*>(at), found->second);
    state().used -= found->second;
    state().buffers.erase(found);
    return kFine;
  });
}
FAKE cuStreamCreate(void** stream, unsigned) {
  return with_context([&] {
    *stream = new Stream;
    return kFine;
  });
}
FAKE cuStreamDestroy_v2(void* stream) {
  delete static_cast<Stream*>(stream);
  return kFine;
}
FAKE cuMemcpyHtoDAsync_v2(unsigned long long to, const void* from, size_t bytes, void* stream) {
  static_cast<Stream*>(stream)->work.emplace_back([=] {
    if (!state().has(to, bytes)) fault("a copy leaves its buffer");
    std::memcpy(reinterpret_cast<void*>(to), from, bytes);
  });
  return kFine;
}
FAKE cuMemcpyDtoHAsync_v2(void* to, unsigned long long from, size_t bytes, void* stream) {
  static_cast<Stream*>(stream)->work.emplace_back([=] {
    if (!state().has(from, bytes)) fault("a copy leaves its buffer");
    std::memcpy(to, reinterpret_cast<const void*>(from), bytes);
  });
  return kFine;
}
FAKE cuLaunchKernel(const void* function, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned, unsigned,
                    unsigned shared, void* stream, void** args, void**) {
  const auto& kernel = *static_cast<const emulated::Kernel*>(function);
  if (static_cast<int>(threads) != kernel.threads) return kInvalid;
  std::vector<arkit::cuda::Words4> copy(kernel.args / 16 + 1);
  std::memcpy(copy.data(), args[0], kernel.args);
  const emulated::Place grid{static_cast<int>(x), static_cast<int>(y), static_cast<int>(z)};
  static_cast<Stream*>(stream)->work.emplace_back([=, &kernel] {
    emulated::Memory memory;
    for (const auto& [at, bytes] : state().buffers)
      memory.add(reinterpret_cast<const void*>(at), bytes, emulated::Use::both);
    try {
      emulated::launch(kernel, grid, shared, copy.data(), memory, 2);
    } catch (const emulated::Fault& found) {
      fault(found.what());
    }
  });
  return kFine;
}
FAKE cuStreamSynchronize(void* stream) {
  const std::lock_guard lock(state().mutex);
  std::vector<std::function<void()>> work;
  work.swap(static_cast<Stream*>(stream)->work);
  state().protect(PROT_READ | PROT_WRITE);
  int result = kFine;
  try {
    for (const auto& step : work) step();
  } catch (const emulated::Fault&) {
    result = kLaunchFailed;
  }
  state().protect(PROT_NONE);
  return result;
}
FAKE cuGetErrorString(int error, const char** text) {
  *text = error == kOutOfMemory ? "out of memory" : (error == kLaunchFailed ? "launch failed" : "invalid");
  return kFine;
}
