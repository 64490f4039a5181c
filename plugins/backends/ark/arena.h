#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/kernels.h"

namespace arkit::ark {

// Memory that a thread keeps between calls. What was taken is gone when the arena grows: ask for all with `reserve` first.
class Arena {
 public:
  void reserve(size_t bytes) {
    if (memory_.size() < bytes + kLine) memory_.resize(bytes + kLine);
    used_ = 0;
  }
  template <typename T>
  T* take(int64_t count) {
    std::byte* start = memory_.data() + (kLine - reinterpret_cast<uintptr_t>(memory_.data()) % kLine) % kLine;
    T* at = reinterpret_cast<T*>(start + used_);
    used_ += bytes<T>(count);
    return at;
  }
  template <typename T>
  static size_t bytes(int64_t count) {
    return (static_cast<size_t>(count) * sizeof(T) + kLine - 1) / kLine * kLine;
  }

 private:
  std::vector<std::byte> memory_;
  size_t used_ = 0;
};

}  // namespace arkit::ark
