#include "plugins/backend_door/weights.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/str.h>

#include "plugins/backend_door/description.h"
#include "plugins/backend_door/host_table.h"

namespace arkit::backend_door {
namespace {

WeightsDescription& of(void* self) {
  return *static_cast<WeightsDescription*>(self);
}

}  // namespace

// An exception stays here; the backend hands on that there was one.
template <typename Get>
ArkitStatus WeightsDescription::give(ArkitTensor* out, Get&& get) noexcept {
  try {
    ARKIT_CHECK(out != nullptr && out->struct_size >= ARKIT_TENSOR_SIZE_1_0, "a backend gave no place for a tensor");
    ArkitTensor described{.struct_size = out->struct_size};
    if (const at::Tensor tensor = get(); tensor.defined()) {
      described = describe(given_.emplace_back(tensor.contiguous()));
      if (described.type == 0)
        throw_unsupported(str("layer '", printable(weights_.spec.name), "': tensors of type ",
                              c10::toString(tensor.scalar_type()), " cannot be given to a backend"));
    }
    described.struct_size = out->struct_size;
    std::memcpy(out, &described, std::min(out->struct_size, sizeof(described)));
    return ARKIT_OK;
  } catch (...) {
    error_ = std::current_exception();
    return ARKIT_STOPPED;
  }
}

at::Tensor WeightsDescription::packed(const std::string& name) const {
  const auto found = weights_.packed.find(name);
  if (found == weights_.packed.end())
    throw_input(str("packed layer '", printable(weights_.spec.name), "' has no tensor '", printable(name), "'"));
  return found->second;
}

at::Tensor WeightsDescription::unpacked(const std::string& name) {
  if (!codes_) {
    if (!weights_.codes) return {};
    codes_ = weights_.codes();
  }
  for (const auto& [member, tensor] : tensors_of(*codes_))
    if (member == name) return tensor;
  return {};
}

at::Tensor WeightsDescription::dense(ArkitType type) const {
  if (type != ARKIT_FLOAT32 && type != ARKIT_BFLOAT16 && type != ARKIT_FLOAT16)
    throw_unsupported(str("layer '", printable(weights_.spec.name), "': a backend wants its weight as type ", type,
                          "; expected float32, bfloat16 or float16"));
  const at::Tensor weight = weights_.dequantized(scalar_type(type));
  ARKIT_CHECK(weight.sizes() == at::IntArrayRef({weights_.spec.out_features, weights_.spec.in_features}),
              str("dequantized weight of '", weights_.spec.name, "' has a wrong shape"));
  return weight;
}

WeightsDescription::WeightsDescription(const LayerWeights& weights) : weights_(weights) {
  for (const auto& [name, tensor] : weights.packed) names_.push_back(name.c_str());
  described_ = {
      .struct_size = sizeof(ArkitWeights),
      .self = this,
      .packed_names = names_.data(),
      .packed_count = names_.size(),
      .packed = [](void* self, const char* name,
                   ArkitTensor* out) { return of(self).give(out, [&] { return of(self).packed(name); }); },
      .unpacked = [](void* self, const char* name,
                     ArkitTensor* out) { return of(self).give(out, [&] { return of(self).unpacked(name); }); },
      .dense =
          [](void* self, ArkitType type, ArkitTensor* out, ArkitHeld** held) {
            const ArkitStatus status = of(self).give(out, [&] { return of(self).dense(type); });
            if (status != ARKIT_OK || held == nullptr) return status;
            *held = hold(of(self).given_.back());
            of(self).given_.pop_back();  // a description points into the tensor, which `held` keeps
            return status;
          },
  };
}

}  // namespace arkit::backend_door
