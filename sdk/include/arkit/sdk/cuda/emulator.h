#pragma once
// Runs kernels written with device.h on the CPU, block by block, and stops where a GPU would go on with rubbish: reads
// and writes outside of what a launch was given, vectors that are not aligned, shared memory that nobody wrote, data that
// cp.async has not brought yet, threads that meet at different instructions, and races: two threads of which one writes,
// with no barrier between them. Threads of a block are fibers that switch at barriers and at instructions of whole warps;
// the order in which they run is the caller's, so that a kernel can be run in several.
//
//   emulated::Memory memory;
//   memory.add(x, bytes, emulated::Use::read);      // what kernels may touch
//   emulated::launch(kernel, {gx, gy, gz}, shared_bytes, &args, memory, seed);   // throws Fault
//
// Of the memory model only this is known: a barrier orders a block, a block sees what blocks before its launch wrote.
// Products of mma are summed exactly enough (in double) and rounded once; a GPU sums in another order.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <arkit/sdk/cuda/emulator_fiber.h>
#include <arkit/sdk/cuda/emulator_memory.h>
#include <arkit/sdk/float16.h>

namespace arkit::cuda::emulated {

enum class WarpCall { none, matrices, shuffle, mma_f16, mma_bf16 };

// One block while it runs.
class Block {
 public:
  Block(const Kernel& kernel, const Place& its_grid, size_t shared_bytes, const void* args, Memory& memory)
      : grid(its_grid), kernel_(kernel), args_(args), memory_(memory) {
    shared_.resize(shared_bytes / 16 + 1);
    shared_bytes_ = shared_bytes;
    threads_.resize(static_cast<size_t>(kernel.threads));
    warps_.resize((threads_.size() + 31) / 32);
  }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  Place place, grid;

  void run(const std::vector<int>& order);

  // ---- for the functions of device.h ----
  [[nodiscard]] int thread() const { return running_; }
  unsigned char* shared() { return reinterpret_cast<unsigned char*>(shared_.data()); }
  void barrier() {
    self().state = State::barrier;
    yield();
  }
  void read_global(const void* from, size_t bytes, size_t align) {
    Memory::Region& region = global(from, bytes, align, "reads");
    if (region.use == Use::write) fault("reads memory that is only written", from);
    touch(region, from, bytes, false);
  }
  void write_global(const void* to, size_t bytes, size_t align) {
    Memory::Region& region = global(to, bytes, align, "writes");
    if (region.use == Use::read) fault("writes memory that is only read", to);
    touch(region, to, bytes, true);
  }
  void read_shared(const void* from, size_t bytes, size_t align) {
    each_shared(from, bytes, align, [&](Cell& cell) {
      if (!cell.known) fault("reads shared memory that nobody wrote", from);
      check_read(cell, from);
    });
  }
  void write_shared(const void* to, size_t bytes, size_t align) {
    each_shared(to, bytes, align, [&](Cell& cell) { check_write(cell, to); });
  }
  void copy_async(void* to, const void* from, bool valid) {
    if (valid) read_global(from, 16, 16);
    each_shared(to, 16, 16, [&](Cell& cell) {
      check_write(cell, to);
      cell.coming = true;
    });
    self().open.push_back({to, from, valid});
  }
  void copy_commit() {
    Thread& its = self();
    its.groups.push_back(std::move(its.open));
    its.open.clear();
  }
  void copy_wait(int left) {
    Thread& its = self();
    while (its.groups.size() > static_cast<size_t>(left)) {
      for (const Copy& copy : its.groups.front()) {
        each_shared(copy.to, 16, 16, [&](Cell& cell) {
          cell.coming = false;
          cell.written_at = epoch_;
        });
        if (copy.valid)
          std::memcpy(copy.to, copy.from, 16);
        else
          std::memset(copy.to, 0, 16);
      }
      its.groups.erase(its.groups.begin());
    }
  }
  // All 32 lanes meet here; `in`, `more` and `out` are each lane's own.
  void warp_call(WarpCall call, const void* in, const void* more, void* out) {
    Warp& warp = warps_[static_cast<size_t>(running_) / 32];
    if (warp.arrived != 0 && warp.call != call) fault("a warp's lanes meet at different instructions", nullptr);
    warp.call = call;
    warp.lanes[static_cast<size_t>(running_) % 32] = {in, more, out};
    if (++warp.arrived < lanes(warp)) {
      self().state = State::warp;
      yield();
      return;
    }
    finish(warp);
    warp.arrived = 0;
    for (Thread& its : threads_of(warp))
      if (its.state == State::warp) its.state = State::ready;
  }

 private:
  enum class State { fresh, ready, barrier, warp, ended };
  struct Copy {
    void* to;
    const void* from;
    bool valid;
  };
  struct Thread {
    State state = State::fresh;
    Fiber fiber;
    std::vector<Copy> open;
    std::vector<std::vector<Copy>> groups;
  };
  struct Lane {
    const void *in, *more;
    void* out;
  };
  struct Warp {
    WarpCall call = WarpCall::none;
    int arrived = 0;
    std::array<Lane, 32> lanes{};
  };

  Thread& self() { return threads_[static_cast<size_t>(running_)]; }
  std::span<Thread> threads_of(const Warp& warp) {
    const auto first = static_cast<size_t>(&warp - warps_.data()) * 32;
    return std::span(threads_).subspan(first, std::min<size_t>(32, threads_.size() - first));
  }
  int lanes(const Warp& warp) { return static_cast<int>(threads_of(warp).size()); }

  [[noreturn]] void fault(const std::string& what, const void* where) const {
    std::string text = std::string(kernel_.name) + ": thread " + std::to_string(running_) + " of block (" +
                       std::to_string(place.x) + ", " + std::to_string(place.y) + ", " + std::to_string(place.z) +
                       ") " + what;
    const auto* begin = reinterpret_cast<const std::byte*>(shared_.data());
    const auto* at = static_cast<const std::byte*>(where);
    if (at >= begin && at < begin + shared_bytes_) text += ", shared byte " + std::to_string(at - begin);
    throw Fault(text);
  }
  Memory::Region& global(const void* pointer, size_t bytes, size_t align, const char* does) {
    Memory::Region* region = memory_.find(pointer, bytes);
    if (region == nullptr) fault(std::string(does) + " outside of what the launch was given", pointer);
    if (reinterpret_cast<uintptr_t>(pointer) % align != 0)
      fault(std::string(does) + " " + std::to_string(bytes) + " bytes that are not aligned", pointer);
    return *region;
  }
  void touch(Memory::Region& region, const void* pointer, size_t bytes, bool write) {
    if (region.cells.empty()) return;  // read only
    const auto first = static_cast<size_t>(static_cast<const std::byte*>(pointer) - region.begin) / 2;
    for (size_t i = first; i < first + (bytes + 1) / 2; ++i) {
      Cell& cell = region.cells[i];
      if (cell.writer >= 0 && cell.writer_block != number_)
        fault(std::string(write ? "writes" : "reads") + " what another block of this launch writes", pointer);
      if (write)
        check_write(cell, pointer);
      else
        check_read(cell, pointer);
      if (write) cell.writer_block = number_;
    }
  }
  template <typename Each>
  void each_shared(const void* pointer, size_t bytes, size_t align, Each&& each) {
    const auto* begin = reinterpret_cast<const std::byte*>(shared_.data());
    const auto* at = static_cast<const std::byte*>(pointer);
    if (at < begin || at + bytes > begin + shared_bytes_) fault("leaves the shared memory", pointer);
    if (reinterpret_cast<uintptr_t>(pointer) % align != 0) fault("uses shared memory that is not aligned", pointer);
    const auto first = static_cast<size_t>(at - begin) / 2;
    for (size_t i = first; i < first + (bytes + 1) / 2; ++i) each(cells_[i]);
  }
  void check_read(Cell& cell, const void* where) {
    if (cell.coming) fault("reads what cp.async has not brought yet", where);
    if (cell.writer >= 0 && cell.writer != running_ && cell.written_at == epoch_)
      fault("reads what thread " + std::to_string(cell.writer) + " writes, with no barrier between", where);
    if (cell.read_at != epoch_ || cell.reader < 0) {
      cell.reader = running_;
      cell.readers = false;
      cell.read_at = epoch_;
    } else if (cell.reader != running_) {
      cell.readers = true;
    }
  }
  void check_write(Cell& cell, const void* where) {
    if (cell.coming) fault("writes where cp.async is writing", where);
    if (cell.writer >= 0 && cell.writer != running_ && cell.written_at == epoch_)
      fault("writes what thread " + std::to_string(cell.writer) + " writes, with no barrier between", where);
    if (cell.reader >= 0 && cell.read_at == epoch_ && (cell.readers || cell.reader != running_))
      fault("writes what other threads read, with no barrier between", where);
    cell.writer = running_;
    cell.written_at = epoch_;
    cell.known = true;
  }
  static void finish(Warp& warp);
  void enter();
  void yield() { Fiber::pass(self().fiber, scheduler_); }
  void resume(int thread);

  friend void launch(const Kernel&, const Place&, size_t, const void*, Memory&, uint64_t);
  const Kernel& kernel_;
  const void* args_;
  Memory& memory_;
  std::vector<std::array<std::byte, 16>> shared_;
  size_t shared_bytes_ = 0;
  std::vector<Cell> cells_;
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  Fiber scheduler_;
  int running_ = -1, number_ = 0;
  uint32_t epoch_ = 1;
  std::string error_;
};

inline thread_local Block* current = nullptr;

inline Block& here() {
  if (current == nullptr) throw Fault("a kernel's function was called outside of a launch");
  return *current;
}

inline void Block::enter() {
  Fiber::begun(scheduler_);
  try {
    kernel_.body(args_);
  } catch (const std::exception& error) {
    error_ = error.what();
  }
  self().state = State::ended;
  Fiber::pass(self().fiber, scheduler_, true);
}

inline void Block::resume(int thread) {
  running_ = thread;
  Thread& its = self();
  if (its.state == State::fresh) {
    its.state = State::ready;
    its.fiber.prepare(+[] { current->enter(); });
  }
  Fiber::pass(scheduler_, its.fiber);
}

inline void Block::run(const std::vector<int>& order) {
  // What nobody wrote reads as NaN in every float.
  std::memset(shared_.data(), 0xFF, shared_.size() * 16);
  cells_.assign(shared_bytes_ / 2 + 1, {});
  for (Thread& its : threads_) {
    its.state = State::fresh;
    its.open.clear();
    its.groups.clear();
  }
  for (Warp& warp : warps_) warp.arrived = 0;
  current = this;
  for (;;) {
    bool moved = false;
    for (const int thread : order) {
      State& state = threads_[static_cast<size_t>(thread)].state;
      if (state != State::fresh && state != State::ready) continue;
      moved = true;
      resume(thread);
      if (!error_.empty()) break;
    }
    if (!error_.empty()) break;
    if (moved) continue;
    const auto count = [&](State state) {
      return std::count_if(threads_.begin(), threads_.end(), [&](const Thread& t) { return t.state == state; });
    };
    const auto all = static_cast<std::ptrdiff_t>(threads_.size());
    if (count(State::ended) == all) break;
    if (count(State::barrier) != all) {
      error_ = std::string(kernel_.name) + ": " + std::to_string(count(State::barrier)) +
               " threads of a block wait at a barrier, " + std::to_string(count(State::warp)) +
               " at an instruction of a warp, and " + std::to_string(count(State::ended)) + " have ended";
      break;
    }
    ++epoch_;
    for (Thread& its : threads_) its.state = State::ready;
  }
  current = nullptr;
  ++epoch_;
  if (!error_.empty()) throw Fault(error_);
}

// Runs a grid. `seed` 0: threads in ascending order, 1: descending, else shuffled.
inline void launch(const Kernel& kernel, const Place& grid, size_t shared_bytes, const void* args, Memory& memory,
                   uint64_t seed = 0) {
  if (grid.x < 1 || grid.y < 1 || grid.z < 1 || grid.y > 65535 || grid.z > 65535)
    throw Fault(std::string(kernel.name) + ": a grid that no GPU takes");
  if (shared_bytes > size_t{99} * 1024)
    throw Fault(std::string(kernel.name) + ": more shared memory than every GPU since sm_80 has");
  if (kernel.threads < 1 || kernel.threads > 1024 || kernel.args > 4096)
    throw Fault(std::string(kernel.name) + ": too many threads, or arguments");
  for (auto& [begin, region] : memory.regions_)
    if (region.use != Use::read) region.cells.assign(region.bytes / 2 + 1, {});
  std::vector<int> order(static_cast<size_t>(kernel.threads));
  std::iota(order.begin(), order.end(), 0);
  if (seed == 1) std::reverse(order.begin(), order.end());
  std::mt19937_64 random(seed);
  Block block(kernel, grid, shared_bytes, args, memory);
  for (int z = 0; z < grid.z; ++z)
    for (int y = 0; y < grid.y; ++y)
      for (int x = 0; x < grid.x; ++x) {
        if (seed > 1) std::shuffle(order.begin(), order.end(), random);
        block.place = {x, y, z};
        block.number_ = (z * grid.y + y) * grid.x + x;
        block.run(order);
      }
}

// ---- arithmetic ---------------------------------------------------------------------------------------------------

template <typename Float>
float half_of(uint32_t pair, int i) {
  return Float::to_float(static_cast<uint16_t>(pair >> (16 * i)));
}
template <typename Float>
uint32_t pair_of(double low, double high) {
  return Float::from_float(static_cast<float>(low)) | static_cast<uint32_t>(Float::from_float(static_cast<float>(high)))
                                                          << 16;
}
template <typename Float>
uint32_t subtract(uint32_t a, uint32_t b) {
  return pair_of<Float>(double{half_of<Float>(a, 0)} - half_of<Float>(b, 0),
                        double{half_of<Float>(a, 1)} - half_of<Float>(b, 1));
}
template <typename Float>
uint32_t fma(uint32_t a, uint32_t b, uint32_t c) {
  const auto one = [&](int i) { return double{half_of<Float>(a, i)} * half_of<Float>(b, i) + half_of<Float>(c, i); };
  return pair_of<Float>(one(0), one(1));
}

inline void Block::finish(Warp& warp) {
  const auto word = [](const void* from, int i) {
    uint32_t value = 0;
    std::memcpy(&value, static_cast<const std::byte*>(from) + 4 * i, 4);
    return value;
  };
  if (warp.call == WarpCall::matrices) {
    for (int lane = 0; lane < 32; ++lane)
      for (int j = 0; j < 4; ++j)
        static_cast<uint32_t*>(warp.lanes[static_cast<size_t>(lane)].out)[j] =
            word(warp.lanes[static_cast<size_t>(8 * j + lane / 4)].in, lane % 4);
    return;
  }
  if (warp.call == WarpCall::shuffle) {
    for (size_t lane = 0; lane < 32; ++lane) {
      int mask = 0;
      std::memcpy(&mask, warp.lanes[lane].more, sizeof mask);
      std::memcpy(warp.lanes[lane].out, warp.lanes[lane ^ static_cast<size_t>(mask)].in, 4);
    }
    return;
  }
  const auto value = [&](uint32_t pair, int i) {
    const auto bits = static_cast<uint16_t>(pair >> (16 * i));
    return warp.call == WarpCall::mma_f16 ? sdk::float16_to_float(bits) : sdk::bfloat16_to_float(bits);
  };
  std::array<std::array<float, 16>, 16> a{};
  std::array<std::array<float, 8>, 16> b{};
  for (int lane = 0; lane < 32; ++lane) {
    const Lane& its = warp.lanes[static_cast<size_t>(lane)];
    const int g = lane / 4, t = lane % 4;
    for (int r = 0; r < 4; ++r)
      for (int i = 0; i < 2; ++i)
        a[static_cast<size_t>(g + 8 * (r % 2))][static_cast<size_t>(2 * t + 8 * (r / 2) + i)] =
            value(word(its.in, r), i);
    for (int r = 0; r < 2; ++r)
      for (int i = 0; i < 2; ++i)
        b[static_cast<size_t>(2 * t + 8 * r + i)][static_cast<size_t>(g)] = value(word(its.more, r), i);
  }
  for (int lane = 0; lane < 32; ++lane) {
    auto* c = static_cast<float*>(warp.lanes[static_cast<size_t>(lane)].out);
    const int g = lane / 4, t = lane % 4;
    for (int r = 0; r < 4; ++r) {
      const auto row = static_cast<size_t>(g + 8 * (r / 2)), column = static_cast<size_t>(2 * t + r % 2);
      double sum = c[r];
      for (size_t k = 0; k < 16; ++k) sum += double{a[row][k]} * b[k][column];
      c[r] = static_cast<float>(sum);
    }
  }
}

}  // namespace arkit::cuda::emulated
