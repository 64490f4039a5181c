#pragma once
// Where the input and the outputs of a run lie on a device that cannot read this process's memory.

#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "plugins/backend_door/calls.h"

namespace arkit::backend_door {

// A stream and memory for one run at a time, kept for the next one.
class Lane {
 public:
  Lane(std::shared_ptr<const Calls> calls, const ArkitDevice& device);
  ~Lane();
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  [[nodiscard]] ArkitStream* stream() const noexcept { return stream_; }
  // At least `bytes`; what was in it is lost when it grows. Nothing of the lane runs meanwhile.
  [[nodiscard]] ArkitBuffer* input(uint64_t bytes) { return grown(input_, bytes); }
  [[nodiscard]] ArkitBuffer* output(uint64_t bytes) { return grown(output_, bytes); }
  void synchronize();

 private:
  struct Memory {
    ArkitBuffer* buffer = nullptr;
    uint64_t bytes = 0;
  };
  [[nodiscard]] ArkitBuffer* grown(Memory& memory, uint64_t bytes);

  std::shared_ptr<const Calls> calls_;
  const ArkitDevice& device_;
  ArkitStream* stream_ = nullptr;
  Memory input_, output_;
};

// Lanes of one device: as many as there have been runs at once.
class Lanes {
 public:
  Lanes(std::shared_ptr<const Calls> calls, const ArkitDevice& device) : calls_(std::move(calls)), device_(device) {}

  [[nodiscard]] std::unique_ptr<Lane> take();
  void give_back(std::unique_ptr<Lane> lane);  // synchronized, and nothing failed

 private:
  std::shared_ptr<const Calls> calls_;
  const ArkitDevice& device_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Lane>> free_;
};

}  // namespace arkit::backend_door
