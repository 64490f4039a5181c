#pragma once
// NVIDIA's driver, found at run time: a plugin that is linked to nothing of it loads on every machine and says what is
// missing. Functions and numbers are those of the CUDA driver API (cuda.h), with the names that the library exports.

#include <dlfcn.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

namespace arkit::cuda {

using DriverResult = int;  // CUresult; 0 = success
using DeviceAddress = unsigned long long;
struct DriverContext;
struct DriverModule;
struct DriverFunction;
struct DriverStream;

inline constexpr DriverResult kNoMemory = 2, kNoDevice = 100;
inline constexpr int kAttributeProcessors = 16, kAttributeMajor = 75, kAttributeMinor = 76;
inline constexpr int kAttributeSharedMemory = 8;  // of a function: dynamic shared memory, at most
inline constexpr unsigned kStreamAlone = 1;       // does not wait for the null stream

struct Driver {
  DriverResult (*init)(unsigned flags) = nullptr;
  DriverResult (*version)(int* version) = nullptr;
  DriverResult (*device_count)(int* count) = nullptr;
  DriverResult (*device)(int* device, int ordinal) = nullptr;
  DriverResult (*device_name)(char* name, int length, int device) = nullptr;
  DriverResult (*device_attribute)(int* value, int attribute, int device) = nullptr;
  DriverResult (*device_memory)(size_t* bytes, int device) = nullptr;
  DriverResult (*retain)(DriverContext** context, int device) = nullptr;
  DriverResult (*release)(int device) = nullptr;
  DriverResult (*push)(DriverContext* context) = nullptr;
  DriverResult (*pop)(DriverContext** context) = nullptr;
  DriverResult (*load)(DriverModule** module, const void* image) = nullptr;
  DriverResult (*unload)(DriverModule* module) = nullptr;
  DriverResult (*function)(DriverFunction** function, DriverModule* module, const char* name) = nullptr;
  DriverResult (*set_attribute)(DriverFunction* function, int attribute, int value) = nullptr;
  DriverResult (*launch)(DriverFunction* function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                         unsigned block_y, unsigned block_z, unsigned shared_bytes, DriverStream* stream, void** args,
                         void** extra) = nullptr;
  DriverResult (*allocate)(DeviceAddress* address, size_t bytes) = nullptr;
  DriverResult (*free)(DeviceAddress address) = nullptr;
  DriverResult (*copy_in)(DeviceAddress to, const void* from, size_t bytes, DriverStream* stream) = nullptr;
  DriverResult (*copy_out)(void* to, DeviceAddress from, size_t bytes, DriverStream* stream) = nullptr;
  DriverResult (*create_stream)(DriverStream** stream, unsigned flags) = nullptr;
  DriverResult (*destroy_stream)(DriverStream* stream) = nullptr;
  DriverResult (*synchronize)(DriverStream* stream) = nullptr;
  DriverResult (*error_text)(DriverResult result, const char** text) = nullptr;

  // Loads the library; false with what is missing. It stays loaded: drivers do not survive being unloaded.
  bool open(std::string& why) {
    void* library = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
      why =
          "no CUDA driver: libcuda.so.1 was not found; install NVIDIA's driver and see that 'nvidia-smi' lists the GPU";
      return false;
    }
    const auto find = [&](auto& to, const char* name) {
      to = reinterpret_cast<std::remove_reference_t<decltype(to)>>(::dlsym(library, name));
      if (to == nullptr && why.empty())
        why = std::string("libcuda.so.1 has no function ") + name + "; install a driver of 2020 or later";
    };
    find(init, "cuInit");
    find(version, "cuDriverGetVersion");
    find(device_count, "cuDeviceGetCount");
    find(device, "cuDeviceGet");
    find(device_name, "cuDeviceGetName");
    find(device_attribute, "cuDeviceGetAttribute");
    find(device_memory, "cuDeviceTotalMem_v2");
    find(retain, "cuDevicePrimaryCtxRetain");
    find(release, "cuDevicePrimaryCtxRelease_v2");
    find(push, "cuCtxPushCurrent_v2");
    find(pop, "cuCtxPopCurrent_v2");
    find(load, "cuModuleLoadData");
    find(unload, "cuModuleUnload");
    find(function, "cuModuleGetFunction");
    find(set_attribute, "cuFuncSetAttribute");
    find(launch, "cuLaunchKernel");
    find(allocate, "cuMemAlloc_v2");
    find(free, "cuMemFree_v2");
    find(copy_in, "cuMemcpyHtoDAsync_v2");
    find(copy_out, "cuMemcpyDtoHAsync_v2");
    find(create_stream, "cuStreamCreate");
    find(destroy_stream, "cuStreamDestroy_v2");
    find(synchronize, "cuStreamSynchronize");
    find(error_text, "cuGetErrorString");
    return why.empty();
  }

  [[nodiscard]] std::string text(DriverResult result) const {
    const char* words = nullptr;
    if (error_text(result, &words) != 0 || words == nullptr) words = "an error without a name";
    return std::string(words) + " (CUDA error " + std::to_string(result) + ")";
  }
};

}  // namespace arkit::cuda
