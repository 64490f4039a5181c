#pragma once
// A backend's library opened through the door of C (arkit/backend_c.h) by nothing of arkit: what a layer needs, given by hand.

#include <dlfcn.h>

#include <chrono>
#include <cstring>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <arkit/backend_c.h>

namespace arkit::cuda::tests {

struct Tensor {
  ArkitType type = 0;
  std::vector<int64_t> shape;
  std::vector<std::byte> bytes;

  Tensor() = default;
  template <typename T>
  Tensor(ArkitType its_type, std::vector<int64_t> its_shape, const std::vector<T>& values)
      : type(its_type), shape(std::move(its_shape)), bytes(values.size() * sizeof(T)) {
    std::memcpy(bytes.data(), values.data(), bytes.size());
  }
  [[nodiscard]] ArkitTensor shown() const {
    return {sizeof(ArkitTensor),
            shape.data(),
            static_cast<int32_t>(shape.size()),
            type,
            const_cast<std::byte*>(bytes.data()),
            nullptr,
            0};
  }
};

// What the host would be asked for.
struct Layer {
  std::string name = "model.layers.0.mlp.up_proj", data_type = "int";
  int64_t outputs = 0, inputs = 0, group = -1, block_rows = 0;
  int bits = 4, act_bits = 16;
  bool sym = true;
  std::map<std::string, Tensor> unpacked;  // "codes" ...
  Tensor bias;                             // of no type = none
};

class Door {
 public:
  explicit Door(const char* file) {
    void* library = ::dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) throw std::runtime_error(::dlerror());
    manifest = static_cast<const ArkitBackendManifest*>(::dlsym(library, "arkit_backend_manifest"));
    if (manifest == nullptr) throw std::runtime_error("there is no manifest");
    static const ArkitDoor door{sizeof(ArkitDoor), [](uint32_t, uint32_t) { return &host(); }};
    Why why;
    check(manifest->open(&door, &backend, why.get()), why);
    check(backend->devices(backend->self, &devices, &count, why.get()), why);
    why_none = why.text();
  }
  ~Door() {
    if (backend != nullptr) backend->close(backend->self);
  }
  Door(const Door&) = delete;
  Door& operator=(const Door&) = delete;

  // Empty = yes.
  std::string why_not(const Layer& layer, size_t device = 0) const {
    const Shown shown(layer);
    ArkitVerdict verdict{};
    verdict.struct_size = sizeof(verdict);
    Why why;
    check(backend->supports(backend->self, &shown.unit, devices[device], &verdict, why.get()), why);
    return verdict.score > 0 ? "" : why.text();
  }

  // y [rows, outputs] of x [rows, inputs], bytes of `type` both; with a stream or without.
  std::vector<std::byte> run(const Layer& layer, const std::vector<std::byte>& x, int64_t rows, ArkitType type,
                             bool streams, size_t device = 0) const {
    const Unit unit(*this, layer, x, rows, type, streams, device);
    unit.start();
    return unit.result();
  }

  // Seconds of a run, of `repeats` that follow each other on a stream.
  double seconds(const Layer& layer, const std::vector<std::byte>& x, int64_t rows, ArkitType type, int repeats) const {
    const Unit unit(*this, layer, x, rows, type, true, 0);
    for (int i = 0; i < 3; ++i) unit.start();
    (void)unit.result();
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < repeats; ++i) unit.start();
    unit.finish();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / repeats;
  }

  const ArkitBackendManifest* manifest = nullptr;
  const ArkitBackend* backend = nullptr;
  const ArkitDevice* const* devices = nullptr;
  size_t count = 0;
  std::string why_none;

 private:
  struct Why {
    char bytes[1024] = {};
    ArkitText shown{sizeof(ArkitText), bytes, sizeof(bytes), 0};
    ArkitText* get() { return &shown; }
    [[nodiscard]] std::string text() const { return bytes; }
  };
  static void check(ArkitStatus status, const Why& why) {
    if (status != ARKIT_OK) throw std::runtime_error(std::to_string(status) + ": " + why.text());
  }
  static const ArkitHost& host() {
    static const ArkitHost all{sizeof(ArkitHost), ARKIT_BACKEND_MAJOR, ARKIT_BACKEND_MINOR, "test", "test", 0, 2,
                               [](ArkitHeld*) {}, [] { return 0; }};
    return all;
  }

  // A layer made ready, with its input on the device and room for its output.
  class Unit {
   public:
    Unit(const Door& door, const Layer& layer, const std::vector<std::byte>& x, int64_t rows, ArkitType type,
         bool streams, size_t device)
        : backend_(*door.backend), type_(type), x_shape_{rows, layer.inputs}, y_shape_{rows, layer.outputs} {
      const Shown shown(layer);
      const ArkitPrepare request{sizeof(ArkitPrepare),
                                 &shown.unit,
                                 door.devices[device],
                                 &shown.weights_at,
                                 type,
                                 0,
                                 nullptr,
                                 0,
                                 nullptr,
                                 nullptr,
                                 nullptr};
      ArkitPreparedInfo info{};
      info.struct_size = sizeof(info);
      Why why;
      check(backend_.prepare(backend_.self, &request, &prepared_, &info, why.get()), why);
      y_bytes_ = x.size() / static_cast<size_t>(rows * layer.inputs) * static_cast<size_t>(rows * layer.outputs);
      if (streams) check(backend_.create_stream(backend_.self, door.devices[device], &stream_, why.get()), why);
      check(backend_.allocate_memory(backend_.self, door.devices[device], x.size() + 6, &in_, why.get()), why);
      check(backend_.allocate_memory(backend_.self, door.devices[device], y_bytes_, &out_, why.get()), why);
      // Without a stream at an offset that no vector likes.
      offset_ = streams ? 0 : 4;
      check(backend_.copy_in(backend_.self, in_, offset_, x.data(), x.size(), stream_, why.get()), why);
      if (info.x_type != type || info.y_type != type || info.bytes <= 0)
        throw std::runtime_error("x_type " + std::to_string(info.x_type) + ", bytes " + std::to_string(info.bytes));
    }
    ~Unit() {
      Why why;
      if (stream_ != nullptr) (void)backend_.synchronize(backend_.self, stream_, why.get());
      if (in_ != nullptr) backend_.free_memory(backend_.self, in_);
      if (out_ != nullptr) backend_.free_memory(backend_.self, out_);
      if (stream_ != nullptr) backend_.destroy_stream(backend_.self, stream_);
      backend_.release(backend_.self, prepared_);
    }
    Unit(const Unit&) = delete;
    Unit& operator=(const Unit&) = delete;

    void start() const {
      const ArkitTensor x{sizeof(ArkitTensor), x_shape_, 2, type_, nullptr, in_, offset_};
      const ArkitTensor y{sizeof(ArkitTensor), y_shape_, 2, type_, nullptr, out_, 0};
      const ArkitTensor* y_at = &y;
      Why why;
      check(backend_.run(backend_.self, prepared_, &x, &y_at, 1, stream_, why.get()), why);
    }
    void finish() const {
      Why why;
      if (stream_ != nullptr) check(backend_.synchronize(backend_.self, stream_, why.get()), why);
    }
    [[nodiscard]] std::vector<std::byte> result() const {
      std::vector<std::byte> y(y_bytes_);
      Why why;
      check(backend_.copy_out(backend_.self, y.data(), out_, 0, y.size(), stream_, why.get()), why);
      finish();
      return y;
    }

   private:
    const ArkitBackend& backend_;
    ArkitType type_;
    int64_t x_shape_[2], y_shape_[2];
    size_t y_bytes_ = 0;
    uint64_t offset_ = 0;
    ArkitPrepared* prepared_ = nullptr;
    ArkitStream* stream_ = nullptr;
    ArkitBuffer *in_ = nullptr, *out_ = nullptr;
  };

  // A layer in structs of the door.
  struct Shown {
    explicit Shown(const Layer& layer) : its(&layer) {
      weight = {sizeof(ArkitQuant),
                layer.data_type.c_str(),
                "",
                "",
                layer.group,
                layer.block_rows,
                0,
                layer.bits,
                0,
                layer.sym ? 1 : 0,
                0};
      act = {sizeof(ArkitQuant), layer.act_bits < 16 ? "int" : "", "", "", -1, 0, 0, layer.act_bits, 0, 1, 1};
      linear = {sizeof(ArkitLinear), layer.name.c_str(),           "any", "", &weight, &act, layer.outputs,
                layer.inputs,        layer.bias.type != 0 ? 1 : 0, 0};
      unit = {sizeof(ArkitUnit), ARKIT_UNIT_LINEARS, &linear_at, 1, nullptr};
      weights = {sizeof(ArkitWeights),
                 const_cast<Layer*>(its),
                 names,
                 layer.bias.type != 0 ? size_t{1} : 0,
                 [](void* self, const char*, ArkitTensor* out) {
                   *out = static_cast<const Layer*>(self)->bias.shown();
                   return ArkitStatus{ARKIT_OK};
                 },
                 [](void* self, const char* name, ArkitTensor* out) {
                   const auto& all = static_cast<const Layer*>(self)->unpacked;
                   const auto found = all.find(name);
                   *out = found == all.end() ? ArkitTensor{sizeof(ArkitTensor), nullptr, 0, 0, nullptr, nullptr, 0}
                                             : found->second.shown();
                   return ArkitStatus{ARKIT_OK};
                 },
                 [](void*, ArkitType, ArkitTensor*, ArkitHeld**) { return ArkitStatus{ARKIT_STOPPED}; }};
    }
    Shown(const Shown&) = delete;
    Shown& operator=(const Shown&) = delete;
    const Layer* its;
    const char* names[1] = {"bias"};
    ArkitQuant weight{}, act{};
    ArkitLinear linear{};
    const ArkitLinear* linear_at = &linear;
    ArkitUnit unit{};
    ArkitWeights weights{};
    const ArkitWeights* weights_at = &weights;
  };
};

}  // namespace arkit::cuda::tests
