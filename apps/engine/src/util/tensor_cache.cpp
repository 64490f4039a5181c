#include "util/tensor_cache.h"

#include <sys/mman.h>

#include <map>
#include <mutex>
#include <new>
#include <unordered_map>
#include <vector>

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>

namespace arkit {
namespace {

constexpr size_t kSmallest = size_t{128} << 10;
constexpr size_t kPage = 4096;

class TensorCache final : public c10::Allocator {
 public:
  static TensorCache& instance() {
    static auto* cache = new TensorCache();  // never destroyed: tensors of static lifetime come back to it
    return *cache;
  }

  c10::DataPtr allocate(size_t bytes) override {
    if (bytes < kSmallest || !active()) return plain_->allocate(bytes);
    const size_t size = (bytes + kPage - 1) / kPage * kPage;
    void* data = take(size);
    return {data, data, &TensorCache::release, c10::Device(c10::DeviceType::CPU)};
  }

  // oneDNN's scratch memory inside LibTorch comes and goes without a DataPtr.
  c10::DeleterFnPtr raw_deleter() const override { return &TensorCache::release; }

  void copy_data(void* to, const void* from, size_t count) const override { default_copy_data(to, from, count); }

  void enter() {
    const std::lock_guard lock(mutex_);
    ++scopes_;
  }

  void leave() {
    const std::lock_guard lock(mutex_);
    if (--scopes_ > 0) return;
    for (const auto& [size, blocks] : free_)
      for (void* data : blocks) ::munmap(data, size);
    free_.clear();
  }

 private:
  TensorCache() : plain_(c10::GetCPUAllocator()) { c10::SetCPUAllocator(this); }

  bool active() {
    const std::lock_guard lock(mutex_);
    return scopes_ > 0;
  }

  void* take(size_t size) {
    const std::lock_guard lock(mutex_);
    void* data = nullptr;
    if (const auto kept = free_.find(size); kept != free_.end() && !kept->second.empty()) {
      data = kept->second.back();
      kept->second.pop_back();
    } else {
      data = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (data == MAP_FAILED) throw std::bad_alloc();
    }
    live_.emplace(data, size);
    return data;
  }

  static void release(void* data) { instance().give(data); }

  void give(void* data) {
    const std::lock_guard lock(mutex_);
    const auto known = live_.find(data);
    if (known == live_.end()) {
      plain_->raw_deallocate(data);
      return;
    }
    if (scopes_ > 0)
      free_[known->second].push_back(data);
    else
      ::munmap(data, known->second);
    live_.erase(known);
  }

  c10::Allocator* plain_;
  std::mutex mutex_;
  int scopes_ = 0;
  std::map<size_t, std::vector<void*>> free_;  // by size
  std::unordered_map<void*, size_t> live_;     // handed out, with their sizes
};

}  // namespace

TensorCacheScope::TensorCacheScope() {
  TensorCache::instance().enter();
}

TensorCacheScope::~TensorCacheScope() {
  TensorCache::instance().leave();
}

}  // namespace arkit
