#pragma once
// What of the vendor's is on this machine, found at run time.

#include <string>

namespace arkit::hpu {

// The vendor's operator as LibTorch knows it once its bridge is loaded.
inline constexpr const char* kOperator = "hpu::convert_from_uint4";

// Loads the runtime and the bridge; false with what is missing and the step that brings it. Both stay loaded.
bool load_runtime(std::string& why);

// Devices that LibTorch has of kind hpu; 0 with why.
int device_count(std::string& why);

}  // namespace arkit::hpu
