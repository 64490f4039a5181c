#pragma once
// A backend's library opened through the door of C (arkit/backend_c.h) by nothing of arkit: what a layer needs, given by hand.

#include <dlfcn.h>

#include <cstring>
#include <functional>
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
    const Shown shown(layer);
    const ArkitPrepare request{sizeof(ArkitPrepare),
                               &shown.unit,
                               devices[device],
                               &shown.weights_at,
                               type,
                               0,
                               nullptr,
                               0,
                               nullptr,
                               nullptr,
                               nullptr};
    ArkitPrepared* prepared = nullptr;
    ArkitPreparedInfo info{};
    info.struct_size = sizeof(info);
    Why why;
    check(backend->prepare(backend->self, &request, &prepared, &info, why.get()), why);
    if (info.x_type != type || info.y_type != type || info.bytes <= 0)
      throw std::runtime_error("x_type " + std::to_string(info.x_type) + ", bytes " + std::to_string(info.bytes));
    const std::unique_ptr<ArkitPrepared, std::function<void(ArkitPrepared*)>> its(
        prepared, [&](ArkitPrepared* p) { backend->release(backend->self, p); });
    std::vector<std::byte> y(x.size() / static_cast<size_t>(rows * layer.inputs) *
                             static_cast<size_t>(rows * layer.outputs));
    ArkitStream* stream = nullptr;
    if (streams) check(backend->create_stream(backend->self, devices[device], &stream, why.get()), why);
    ArkitBuffer *in = nullptr, *out = nullptr;
    check(backend->allocate_memory(backend->self, devices[device], x.size() + 6, &in, why.get()), why);
    check(backend->allocate_memory(backend->self, devices[device], y.size(), &out, why.get()), why);
    // Without a stream at an offset that no vector likes.
    const uint64_t offset = streams ? 0 : 4;
    check(backend->copy_in(backend->self, in, offset, x.data(), x.size(), stream, why.get()), why);
    const int64_t x_shape[] = {rows, layer.inputs}, y_shape[] = {rows, layer.outputs};
    const ArkitTensor x_tensor{sizeof(ArkitTensor), x_shape, 2, type, nullptr, in, offset};
    const ArkitTensor y_tensor{sizeof(ArkitTensor), y_shape, 2, type, nullptr, out, 0};
    const ArkitTensor* y_at = &y_tensor;
    const ArkitStatus ran = backend->run(backend->self, prepared, &x_tensor, &y_at, 1, stream, why.get());
    if (ran == ARKIT_OK) {
      check(backend->copy_out(backend->self, y.data(), out, 0, y.size(), stream, why.get()), why);
      if (streams) check(backend->synchronize(backend->self, stream, why.get()), why);
    }
    backend->free_memory(backend->self, in);
    backend->free_memory(backend->self, out);
    if (streams) backend->destroy_stream(backend->self, stream);
    check(ran, why);
    return y;
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
