#pragma once
// Devices, memory, streams and kernels of NVIDIA GPUs for backends behind the door (backend.h), over the driver that is
// found at run time. A plugin derives from CudaBackend and writes supports() and prepare(); its kernels come as an image
// that arkit_cuda_image() of ArkitCuda.cmake embeds.

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <arkit/sdk/backend.h>
#include <arkit/sdk/cuda/driver.h>

namespace arkit::cuda {

class Gpu;

// Bytes of a GPU's memory, freed with the object.
class GpuMemory {
 public:
  GpuMemory() = default;
  GpuMemory(Gpu& gpu, uint64_t bytes);
  GpuMemory(GpuMemory&& other) noexcept { *this = std::move(other); }
  GpuMemory& operator=(GpuMemory&& other) noexcept {
    std::swap(gpu_, other.gpu_);
    std::swap(at_, other.at_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~GpuMemory();
  [[nodiscard]] DeviceAddress at() const noexcept { return at_; }
  [[nodiscard]] uint64_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] Gpu* gpu() const noexcept { return gpu_; }

 private:
  Gpu* gpu_ = nullptr;
  DeviceAddress at_ = 0;
  uint64_t bytes_ = 0;
};

// Work in order, and scratch memory that its kernels share.
struct GpuStream {
  Gpu* gpu = nullptr;
  DriverStream* stream = nullptr;
  GpuMemory scratch;
};

// One GPU: its context is made when it is first used, never by listing.
class Gpu {
 public:
  Gpu(const Driver& its_driver, int its_ordinal, const void* image)
      : driver_(&its_driver), ordinal_(ordinal_of(its_ordinal)), image_(image) {
    processors_ = attribute(kAttributeProcessors);
    capability_ = 10 * attribute(kAttributeMajor) + attribute(kAttributeMinor);
  }
  Gpu(const Gpu&) = delete;
  Gpu& operator=(const Gpu&) = delete;
  ~Gpu() {
    if (context_ == nullptr) return;
    if (driver_->push(context_) == 0) {
      if (module_ != nullptr) (void)driver_->unload(module_);
      DriverContext* was = nullptr;
      (void)driver_->pop(&was);
    }
    (void)driver_->release(ordinal_);
  }

  [[nodiscard]] int capability() const noexcept { return capability_; }  // 80 = 8.0
  [[nodiscard]] int processors() const noexcept { return processors_; }
  [[nodiscard]] std::string name() const {
    std::array<char, 256> text{};
    check(driver_->device_name(text.data(), static_cast<int>(text.size()) - 1, ordinal_), "a name cannot be read");
    return text.data();
  }
  [[nodiscard]] int64_t memory() const {
    size_t bytes = 0;
    check(driver_->device_memory(&bytes, ordinal_), "the size of its memory cannot be read");
    return static_cast<int64_t>(bytes);
  }

  // The GPU is the thread's while this lives.
  class Use {
   public:
    explicit Use(Gpu& gpu) : gpu_(gpu) { gpu.check(gpu.driver_->push(gpu.context()), "it cannot be used"); }
    ~Use() {
      DriverContext* was = nullptr;
      (void)gpu_.driver_->pop(&was);
    }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    Gpu& gpu_;
  };

  void check(DriverResult result, const std::string& what) const {
    if (result == 0) return;
    throw sdk::BackendError(result == kNoMemory ? ARKIT_RESOURCE : ARKIT_FAILED,
                            "cuda:" + std::to_string(ordinal_) + ": " + what + ": " + driver_->text(result));
  }
  [[nodiscard]] const Driver& driver() const noexcept { return *driver_; }

  // A kernel of the image; may have `shared` bytes of shared memory.
  DriverFunction* kernel(const std::string& name, int shared) {
    const std::lock_guard lock(mutex_);
    if (module_ == nullptr)
      check(driver_->load(&module_, image_), "its driver does not take the kernels of this plugin");
    DriverFunction*& function = kernels_[name];
    if (function != nullptr) return function;
    DriverFunction* found = nullptr;
    check(driver_->function(&found, module_, name.c_str()), "there is no kernel '" + name + "'");
    // Above this a kernel has to be allowed to.
    if (shared > 48 * 1024)
      check(driver_->set_attribute(found, kAttributeSharedMemory, shared),
            "kernel '" + name + "' cannot have " + std::to_string(shared) + " bytes of shared memory");
    return function = found;
  }

  template <typename Args>
  void launch(const GpuStream& stream, const std::string& name, std::array<int64_t, 3> grid, int threads, int shared,
              const Args& args) {
    DriverFunction* function = kernel(name, shared);
    Args copy = args;
    void* pointer = &copy;
    check(driver_->launch(function, static_cast<unsigned>(grid[0]), static_cast<unsigned>(grid[1]),
                          static_cast<unsigned>(grid[2]), static_cast<unsigned>(threads), 1, 1,
                          static_cast<unsigned>(shared), stream.stream, &pointer, nullptr),
          "kernel '" + name + "' was not accepted");
  }

  // Scratch memory of a stream, at least so many bytes; what was there is gone.
  DeviceAddress scratch(GpuStream& stream, uint64_t bytes) {
    if (stream.scratch.bytes() < bytes) {
      check(driver_->synchronize(stream.stream), "work failed");  // earlier kernels use the old one
      stream.scratch = GpuMemory();
      stream.scratch = GpuMemory(*this, bytes);
    }
    return stream.scratch.at();
  }

  // For runs without a stream: made once, used by one run at a time.
  struct OwnStream {
    std::unique_lock<std::mutex> lock;
    GpuStream* stream;
  };
  OwnStream own_stream() {
    std::unique_lock lock(own_mutex_);
    if (own_.stream == nullptr) {
      own_.gpu = this;
      check(driver_->create_stream(&own_.stream, kStreamAlone), "a stream cannot be made");
    }
    return {std::move(lock), &own_};
  }
  void close() noexcept {
    if (context_ == nullptr) return;
    try {
      const Use use(*this);
      own_.scratch = GpuMemory();
      if (own_.stream != nullptr) (void)driver_->destroy_stream(own_.stream);
      own_.stream = nullptr;
    } catch (const std::exception&) {
      own_.stream = nullptr;  // the driver is gone, and everything with it
    }
  }

  DriverContext* context() {
    const std::lock_guard lock(mutex_);
    if (context_ == nullptr) check(driver_->retain(&context_, ordinal_), "it cannot be opened");
    return context_;
  }

 private:
  int ordinal_of(int ordinal) const {
    int device = 0;
    if (const DriverResult result = driver_->device(&device, ordinal); result != 0)
      throw sdk::BackendError(ARKIT_FAILED, "cuda:" + std::to_string(ordinal) + ": " + driver_->text(result));
    return device;
  }
  [[nodiscard]] int attribute(int which) const {
    int value = 0;
    check(driver_->device_attribute(&value, which, ordinal_), "attribute " + std::to_string(which) + " cannot be read");
    return value;
  }

  const Driver* driver_;
  int ordinal_;
  const void* image_;
  int processors_ = 0, capability_ = 0;
  std::mutex mutex_, own_mutex_;  // of what follows; of own_
  DriverContext* context_ = nullptr;
  DriverModule* module_ = nullptr;
  std::map<std::string, DriverFunction*> kernels_;
  GpuStream own_;
};

inline GpuMemory::GpuMemory(Gpu& gpu, uint64_t bytes) : gpu_(&gpu), bytes_(bytes) {
  const Gpu::Use use(gpu);
  gpu.check(gpu.driver().allocate(&at_, bytes), "there is no memory for " + std::to_string(bytes) + " bytes");
}

inline GpuMemory::~GpuMemory() {
  if (at_ == 0) return;
  try {
    const Gpu::Use use(*gpu_);
    (void)gpu_->driver().free(at_);
  } catch (const std::exception&) {  // the driver is gone, and the memory with it
  }
}

inline DeviceAddress address_of(const sdk::TensorView& tensor) {
  if (tensor.buffer == nullptr) throw sdk::BackendError(ARKIT_MISUSED, "a tensor is not in memory of the device");
  return reinterpret_cast<const GpuMemory*>(tensor.buffer)->at() + tensor.offset;
}

class CudaBackend : public sdk::DeviceBackend {
 public:
  // `image`: what nvcc of `toolkit` (13000 = 13.0) made of the kernels; `score`: of a layer that suits them.
  CudaBackend(const void* image, int toolkit, int score) : image_(image), toolkit_(toolkit), score_(score) {}
  ~CudaBackend() override {
    for (const auto& gpu : gpus_)
      if (gpu != nullptr) gpu->close();
  }

  std::vector<sdk::Device> devices(std::string& why_none) override {
    std::vector<sdk::Device> found;
    if (!ready(why_none)) return found;
    int count = 0;
    if (const DriverResult result = driver_.device_count(&count); result != 0 || count == 0) {
      why_none = "no CUDA device was found" + (result != 0 ? ": " + driver_.text(result) : std::string());
      return found;
    }
    for (int i = 0; i < count; ++i) {
      auto gpu = std::make_unique<Gpu>(driver_, i, image_);
      if (gpu->capability() < kLeastCapability) {
        why_none = "cuda:" + std::to_string(i) + ", " + gpu->name() + ", has compute capability " +
                   version(gpu->capability(), 10) + ", and these kernels need 8.0 (Ampere) or later";
        gpus_.push_back(nullptr);
        continue;
      }
      found.push_back({.kind = "cuda",
                       .name = gpu->name(),
                       .vendor = "NVIDIA",
                       .index = i,
                       .memory = gpu->memory(),
                       .capabilities = 0,
                       .score = score_});
      gpus_.push_back(std::move(gpu));
    }
    return found;
  }

  ArkitBuffer* allocate(const sdk::Device& device, uint64_t bytes) override {
    return reinterpret_cast<ArkitBuffer*>(new GpuMemory(gpu(device), bytes));
  }
  void free(ArkitBuffer* buffer) noexcept override { delete memory_of(buffer); }
  void copy_in(ArkitBuffer* to, uint64_t offset, std::span<const std::byte> from, ArkitStream* stream) override {
    const GpuMemory& memory = within(to, offset, from.size());
    copy(*memory.gpu(), stream,
         [&](DriverStream* on) { return driver_.copy_in(memory.at() + offset, from.data(), from.size(), on); });
  }
  void copy_out(std::span<std::byte> to, ArkitBuffer* from, uint64_t offset, ArkitStream* stream) override {
    const GpuMemory& memory = within(from, offset, to.size());
    copy(*memory.gpu(), stream,
         [&](DriverStream* on) { return driver_.copy_out(to.data(), memory.at() + offset, to.size(), on); });
  }
  ArkitStream* create_stream(const sdk::Device& device) override {
    Gpu& its = gpu(device);
    const Gpu::Use use(its);
    auto stream = std::make_unique<GpuStream>();
    stream->gpu = &its;
    its.check(driver_.create_stream(&stream->stream, kStreamAlone), "a stream cannot be made");
    return reinterpret_cast<ArkitStream*>(stream.release());
  }
  void destroy_stream(ArkitStream* stream) noexcept override {
    const std::unique_ptr<GpuStream> its(stream_of(stream));
    try {
      const Gpu::Use use(*its->gpu);
      (void)driver_.destroy_stream(its->stream);
    } catch (const std::exception&) {  // the driver is gone, and the stream with it
    }
  }
  void synchronize(ArkitStream* stream) override {
    const GpuStream& its = *stream_of(stream);
    const Gpu::Use use(*its.gpu);
    its.gpu->check(driver_.synchronize(its.stream), "work failed");
  }

  static GpuStream* stream_of(ArkitStream* stream) { return reinterpret_cast<GpuStream*>(stream); }

 protected:
  Gpu& gpu(const sdk::Device& device) {
    const auto index = static_cast<size_t>(device.index);
    if (index >= gpus_.size() || gpus_[index] == nullptr)
      throw sdk::BackendError(ARKIT_MISUSED, "cuda:" + std::to_string(device.index) + " is none of these devices");
    return *gpus_[index];
  }

 private:
  static constexpr int kLeastCapability = 80;

  static std::string version(int number, int unit) {
    return std::to_string(number / unit) + "." + std::to_string(number % unit);
  }
  static GpuMemory* memory_of(ArkitBuffer* buffer) { return reinterpret_cast<GpuMemory*>(buffer); }
  static const GpuMemory& within(ArkitBuffer* buffer, uint64_t offset, uint64_t bytes) {
    const GpuMemory& memory = *memory_of(buffer);
    if (offset > memory.bytes() || bytes > memory.bytes() - offset)
      throw sdk::BackendError(ARKIT_MISUSED, "bytes " + std::to_string(offset) + " to " +
                                                 std::to_string(offset + bytes) + " are not in a buffer of " +
                                                 std::to_string(memory.bytes()));
    return memory;
  }

  bool ready(std::string& why) {
    if (!driver_.open(why)) return false;
    if (const DriverResult result = driver_.init(0); result != 0) {
      why = result == kNoDevice ? "no CUDA device was found; see that 'nvidia-smi' lists the GPU"
                                : "the CUDA driver does not start: " + driver_.text(result);
      return false;
    }
    int number = 0;
    if (driver_.version(&number) != 0 || number / 1000 < toolkit_ / 1000) {
      why = "the driver knows CUDA " + version(number / 10, 100) + ", and the kernels of this plugin were made by " +
            version(toolkit_ / 10, 100) + "; install a driver of CUDA " + std::to_string(toolkit_ / 1000) + " or later";
      return false;
    }
    return true;
  }

  template <typename Copy>
  void copy(Gpu& gpu, ArkitStream* stream, Copy&& start) {
    const Gpu::Use use(gpu);
    if (stream != nullptr) return gpu.check(start(stream_of(stream)->stream), "a copy was not accepted");
    const Gpu::OwnStream own = gpu.own_stream();
    gpu.check(start(own.stream->stream), "a copy was not accepted");
    gpu.check(driver_.synchronize(own.stream->stream), "a copy failed");
  }

  Driver driver_;
  const void* image_;
  int toolkit_, score_;
  std::vector<std::unique_ptr<Gpu>> gpus_;  // by index; null = too old
};

}  // namespace arkit::cuda
