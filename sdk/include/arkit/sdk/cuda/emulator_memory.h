#pragma once
// What the emulator of thread blocks (emulator.h) is told: kernels by name, and the memory that a launch may touch.

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string_view>
#include <vector>

namespace arkit::cuda::emulated {

struct Fault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Kernel {
  Kernel(const char* its_name, int its_threads, size_t its_args, void (*its_body)(const void*));
  const char* name;
  int threads;  // of a block, at most
  size_t args;  // bytes
  void (*body)(const void*);
};

// Kernels of this program by name.
inline std::map<std::string_view, const Kernel*>& kernels() {
  static std::map<std::string_view, const Kernel*> all;
  return all;
}

inline Kernel::Kernel(const char* its_name, int its_threads, size_t its_args, void (*its_body)(const void*))
    : name(its_name), threads(its_threads), args(its_args), body(its_body) {
  kernels().emplace(name, this);
}

struct Place {
  int x = 1, y = 1, z = 1;
};

// Who touched two bytes last. A thread is -1 for nobody.
struct Cell {
  int32_t writer = -1, reader = -1, writer_block = -1;
  uint32_t written_at = 0, read_at = 0;  // barriers the block had passed
  bool readers = false;                  // several since then
  bool known = false, coming = false;    // was written; cp.async is on its way
};

enum class Use { read, write, both };

// What kernels may touch, and what else they may not.
class Memory {
 public:
  void add(const void* begin, size_t bytes, Use use) {
    Region region{static_cast<const std::byte*>(begin), bytes, use, {}};
    regions_[region.begin] = std::move(region);
  }
  void remove(const void* begin) { regions_.erase(static_cast<const std::byte*>(begin)); }

 private:
  friend class Block;
  friend void launch(const Kernel&, const Place&, size_t, const void*, Memory&, uint64_t);
  struct Region {
    const std::byte* begin;
    size_t bytes;
    Use use;
    std::vector<Cell> cells;
  };
  Region* find(const void* pointer, size_t bytes) {
    const auto* begin = static_cast<const std::byte*>(pointer);
    auto after = regions_.upper_bound(begin);
    if (after == regions_.begin()) return nullptr;
    Region& region = std::prev(after)->second;
    return begin + bytes <= region.begin + region.bytes ? &region : nullptr;
  }
  std::map<const std::byte*, Region> regions_;
};

}  // namespace arkit::cuda::emulated
