#include "plugins/backend_door/lanes.h"

#include <utility>

namespace arkit::backend_door {

Lane::Lane(std::shared_ptr<const Calls> calls, const ArkitDevice& device) : calls_(std::move(calls)), device_(device) {
  const ArkitBackend& table = calls_->table();
  calls_->call("create_stream()",
               [&](ArkitText* why) { return table.create_stream(table.self, &device_, &stream_, why); });
  if (stream_ == nullptr) calls_->refuse("gave nothing back from create_stream()");
}

Lane::~Lane() {
  const ArkitBackend& table = calls_->table();
  const plugins::Running running(calls_->origin(), "destroy_stream()");
  Words ignored;  // after a failure work may still be there
  (void)table.synchronize(table.self, stream_, ignored.to_fill());
  for (const Memory& memory : {input_, output_})
    if (memory.buffer != nullptr) table.free_memory(table.self, memory.buffer);
  table.destroy_stream(table.self, stream_);
}

void Lane::synchronize() {
  const ArkitBackend& table = calls_->table();
  calls_->call("synchronize()", [&](ArkitText* why) { return table.synchronize(table.self, stream_, why); });
}

ArkitBuffer* Lane::grown(Memory& memory, uint64_t bytes) {
  if (memory.bytes >= bytes) return memory.buffer;
  const ArkitBackend& table = calls_->table();
  ArkitBuffer* larger = nullptr;
  calls_->call("allocate_memory()",
               [&](ArkitText* why) { return table.allocate_memory(table.self, &device_, bytes, &larger, why); });
  if (larger == nullptr) calls_->refuse("gave nothing back from allocate_memory()");
  if (memory.buffer != nullptr) table.free_memory(table.self, memory.buffer);
  memory = {larger, bytes};
  return larger;
}

std::unique_ptr<Lane> Lanes::take() {
  {
    const std::lock_guard lock(mutex_);
    if (!free_.empty()) {
      std::unique_ptr<Lane> lane = std::move(free_.back());
      free_.pop_back();
      return lane;
    }
  }
  return std::make_unique<Lane>(calls_, device_);
}

void Lanes::give_back(std::unique_ptr<Lane> lane) {
  const std::lock_guard lock(mutex_);
  free_.push_back(std::move(lane));
}

}  // namespace arkit::backend_door
