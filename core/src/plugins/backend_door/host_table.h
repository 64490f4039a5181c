#pragma once
// What backends see of arkit: the table they ask the door for.

#include <ATen/core/Tensor.h>

#include <arkit/backend_c.h>

namespace arkit::backend_door {

// The same for the life of the process.
[[nodiscard]] const ArkitDoor& door() noexcept;

// Keeps the tensor's memory until the backend calls ArkitHost.release.
[[nodiscard]] ArkitHeld* hold(const at::Tensor& tensor);

}  // namespace arkit::backend_door
