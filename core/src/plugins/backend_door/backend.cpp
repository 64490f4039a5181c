#include "plugins/backend_door/backend.h"

#include <algorithm>
#include <mutex>
#include <utility>
#include <vector>

#include <arkit/error.h>
#include <arkit/str.h>

#include "plugins/backend_door/description.h"
#include "plugins/backend_door/prepared.h"

namespace arkit::backend_door {
namespace {

constexpr size_t kMaxDevices = 1024;

std::string text_of(const char* text) {
  constexpr size_t kMax = 256;
  return text == nullptr ? std::string() : printable(std::string_view(text, strnlen(text, kMax)), kMax);
}

class DoorBackend final : public InferenceBackend {
 public:
  DoorBackend(const ArkitBackendManifest& manifest, plugins::OriginPtr origin)
      : info_{manifest.name, manifest.summary == nullptr ? "" : manifest.summary},
        calls_(std::make_shared<const Calls>(manifest, std::move(origin))) {}

  const BackendInfo& info() const noexcept override { return info_; }

  std::span<const BackendDevice> devices() const override {
    find_devices();
    return descriptions_;
  }

  Availability probe() const override {
    find_devices();
    Availability best{0, why_none_};
    for (const BackendDevice& device : descriptions_) best.score = std::max(best.score, device.score);
    return best;
  }

  BackendVerdict supports_on(std::span<const LinearSpec* const> layers, size_t device) const override {
    BackendVerdict verdict = verdict_of(UnitDescription(layers).unit(), *open_device(device));
    verdict.device = device;
    return verdict;
  }

  BackendVerdict supports_block(const BlockSpec& block, size_t device) const override {
    if (!calls_->has_blocks()) return InferenceBackend::supports_block(block, device);
    BackendVerdict verdict;
    try {
      const UnitDescription unit(block);
      if (open_device(device)->description.host_memory)
        verdict = verdict_of(unit.unit(), *open_device(device));
      else
        verdict.why_not = "whole blocks need a device that reads this process's memory";
    } catch (const Error& error) {
      if (error.code() != ErrorCode::unsupported) throw;
      verdict.why_not = error.what();
    }
    verdict.device = device;
    return verdict;
  }

  std::unique_ptr<QuantBlock> make_block(const BlockWeights& block, size_t device, at::ScalarType compute_dtype,
                                         const at::Tensor& blob) const override {
    return std::make_unique<PreparedBlock>(calls_, *open_device(device), block, compute_dtype, blob);
  }

  using InferenceBackend::make_linears;
  std::unique_ptr<QuantLinear> make_linears(std::span<const LayerWeights> layers, size_t device,
                                            at::ScalarType compute_dtype, const at::Tensor& blob) const override {
    return std::make_unique<PreparedLinears>(calls_, open_device(device), layers, compute_dtype, blob);
  }

  // What does not fit into a text would be compared in part.
  std::string blob_compatibility(std::span<const LinearSpec* const> layers, size_t device) const override {
    const ArkitBackend& table = calls_->table();
    if (table.blob_compatibility == nullptr || table.save == nullptr) return {};
    const UnitDescription unit(layers);
    Words text;
    calls_->call("blob_compatibility()", [&](ArkitText* why) {
      return table.blob_compatibility(table.self, &unit.unit(), open_device(device)->shown, text.to_fill(), why);
    });
    return text.was_cut() ? std::string() : text.said("");
  }

 private:
  const std::shared_ptr<const OpenDevice>& open_device(size_t device) const {
    find_devices();
    ARKIT_CHECK(device < devices_.size(), "a layer is to run on a device that is not there");
    return devices_[device];
  }

  void find_devices() const {
    std::call_once(devices_found_, [this] {
      const ArkitBackend& table = calls_->table();
      const ArkitDevice* const* list = nullptr;
      size_t count = 0;
      Words words;
      const ArkitStatus status = calls_->status_of(
          "devices()", words, [&](ArkitText* why) { return table.devices(table.self, &list, &count, why); });
      if (status != ARKIT_OK) calls_->fail("devices()", status, words);
      if (count > kMaxDevices || (count > 0 && list == nullptr))
        calls_->refuse(str("claims ", count, " devices; expected at most ", kMaxDevices));
      std::vector<std::shared_ptr<const OpenDevice>> devices;
      for (size_t i = 0; i < count; ++i) devices.push_back(opened(list[i]));
      for (const auto& device : devices) descriptions_.push_back(device->description);
      devices_ = std::move(devices);
      if (devices_.empty()) why_none_ = words.said("found no device and gave no reason");
    });
  }

  std::shared_ptr<const OpenDevice> opened(const ArkitDevice* shown) const {
    if (shown == nullptr || shown->struct_size < ARKIT_DEVICE_SIZE_1_0)
      calls_->refuse(str("describes a device in ", shown == nullptr ? 0 : shown->struct_size,
                         " bytes, this arkit expects at least ", ARKIT_DEVICE_SIZE_1_0));
    auto device = std::make_shared<OpenDevice>();
    device->shown = shown;
    device->description = {.kind = text_of(shown->kind),
                           .name = text_of(shown->name),
                           .vendor = text_of(shown->vendor),
                           .index = shown->index,
                           .memory = shown->memory,
                           .host_memory = (shown->capabilities & ARKIT_DEVICE_HOST_MEMORY) != 0,
                           .score = shown->score};
    if (device->description.kind.empty() || device->description.score <= 0)
      calls_->refuse(str("has a device of kind '", device->description.kind, "' with score ", device->description.score,
                         "; expected a kind and 1 or more"));
    if (!device->description.host_memory) {
      if (!calls_->has_memory())
        calls_->refuse(str("has device ", device->description.id(),
                           ", whose memory is its own, but not the seven functions for memory and streams"));
      device->lanes = std::make_unique<Lanes>(calls_, *shown);
    }
    return device;
  }

  BackendVerdict verdict_of(const ArkitUnit& unit, const OpenDevice& device) const {
    constexpr uint64_t kKnownFlags =
        ARKIT_VERDICT_OWN_ACTIVATIONS | ARKIT_VERDICT_APPROXIMATE | ARKIT_VERDICT_EXACT_TOO | ARKIT_VERDICT_CACHE_INT8;
    const ArkitBackend& table = calls_->table();
    ArkitVerdict given{.struct_size = sizeof(ArkitVerdict)};
    Words words;
    const ArkitStatus status = calls_->status_of("supports()", words, [&](ArkitText* why) {
      return table.supports(table.self, &unit, device.shown, &given, why);
    });
    if (status != ARKIT_OK && status != ARKIT_UNSUPPORTED) calls_->fail("supports()", status, words);
    BackendVerdict verdict;
    if (status != ARKIT_OK || given.score <= 0) {
      verdict.why_not = words.said();
    } else if ((given.flags & ~kKnownFlags) != 0) {
      verdict.why_not = str("wants flags 0x", std::hex, given.flags, " that this arkit does not know");
    } else {
      verdict.score = given.score;
      verdict.own_activations = (given.flags & ARKIT_VERDICT_OWN_ACTIVATIONS) != 0;
      verdict.approximate = (given.flags & ARKIT_VERDICT_APPROXIMATE) != 0;
      verdict.exact_too = (given.flags & ARKIT_VERDICT_EXACT_TOO) != 0;
      verdict.cache_int8 = (given.flags & ARKIT_VERDICT_CACHE_INT8) != 0;
    }
    return verdict;
  }

  BackendInfo info_;
  std::shared_ptr<const Calls> calls_;
  mutable std::once_flag devices_found_;  // guards what follows
  mutable std::vector<std::shared_ptr<const OpenDevice>> devices_;
  mutable std::vector<BackendDevice> descriptions_;  // of the same
  mutable std::string why_none_;
};

}  // namespace

std::shared_ptr<InferenceBackend> open_backend(const ArkitBackendManifest& manifest, plugins::OriginPtr origin) {
  return std::make_shared<DoorBackend>(manifest, std::move(origin));
}

}  // namespace arkit::backend_door
