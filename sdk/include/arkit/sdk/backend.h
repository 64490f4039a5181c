#pragma once
// Backends in C++ over the door made of C (arkit/backend_c.h, which says who owns what and who calls when).
// Header-only: no LibTorch, nothing of libarkit_core. A backend is a class and one line at the end of a .cpp file:
//
//   class FastBackend final : public arkit::sdk::Backend { ... };
//
//   ARKIT_BACKEND(FastBackend, "com.example.fast", "1.0", "Example Ltd", "Apache-2.0", "https://example.com",
//                 "fast", "4-bit kernels for the Example 9000");
//
// Any exception may leave its functions: BackendError keeps its status, the others become ARKIT_FAILED with their text.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <arkit/backend_c.h>

namespace arkit::sdk {

// A failure that means something to the user: ARKIT_BAD_INPUT, ARKIT_UNSUPPORTED, ARKIT_RESOURCE ...
class BackendError : public std::runtime_error {
 public:
  BackendError(ArkitStatus status, const std::string& why) : std::runtime_error(why), status_(status) {}
  [[nodiscard]] ArkitStatus status() const noexcept { return status_; }

 private:
  ArkitStatus status_;
};

// Bytes of one element; throws for a type this header does not know.
[[nodiscard]] inline size_t bytes_of(ArkitType type) {
  switch (type) {
    case ARKIT_UINT8:
    case ARKIT_INT8:
    case ARKIT_BOOL:
    case ARKIT_FLOAT8_E4M3:
    case ARKIT_FLOAT8_E5M2:
    case ARKIT_FLOAT8_E8M0:
      return 1;
    case ARKIT_BFLOAT16:
    case ARKIT_FLOAT16:
    case ARKIT_INT16:
    case ARKIT_UINT16:
      return 2;
    case ARKIT_FLOAT32:
    case ARKIT_INT32:
    case ARKIT_UINT32:
      return 4;
    case ARKIT_FLOAT64:
    case ARKIT_INT64:
      return 8;
    default:
      throw BackendError(ARKIT_UNSUPPORTED, "tensor type " + std::to_string(type) + " is not known to this backend");
  }
}

// See ArkitTensor.
struct TensorView {
  std::span<const int64_t> shape;
  ArkitType type = 0;
  void* host = nullptr;
  ArkitBuffer* buffer = nullptr;
  uint64_t offset = 0;  // bytes, into the buffer

  TensorView() = default;
  explicit TensorView(const ArkitTensor& tensor)
      : shape(tensor.shape, static_cast<size_t>(tensor.rank)),
        type(tensor.type),
        host(tensor.host),
        buffer(tensor.buffer),
        offset(tensor.offset) {}

  [[nodiscard]] size_t count() const noexcept {
    size_t all = 1;
    for (const int64_t size : shape) all *= static_cast<size_t>(size);
    return all;
  }
  [[nodiscard]] size_t bytes() const { return count() * bytes_of(type); }

  // The elements of a tensor in memory of the host; T has the size of its type.
  template <typename T>
  [[nodiscard]] std::span<T> values() const {
    if (host == nullptr) throw BackendError(ARKIT_MISUSED, "a tensor of a device was read as memory of the host");
    if (sizeof(T) != bytes_of(type))
      throw BackendError(ARKIT_UNSUPPORTED, "a tensor has elements of " + std::to_string(bytes_of(type)) +
                                                " bytes, expected " + std::to_string(sizeof(T)));
    return {static_cast<T*>(host), count()};
  }
};

// See TensorQuant in arkit/descriptors.h.
struct QuantSpec {
  std::string_view data_type, scale_dtype, observer;
  int bits = 16;
  int64_t group_size = 0, block_rows = 0, super_group_size = 0;
  int super_bits = 0;
  bool sym = true, dynamic = true;

  QuantSpec() = default;
  explicit QuantSpec(const ArkitQuant& quant);
  [[nodiscard]] bool quantized() const noexcept { return bits < 16; }
};

// See ArkitLinear.
struct LinearSpec {
  std::string_view name, packing, rotation;
  QuantSpec weight, activation;
  int64_t out_features = 0, in_features = 0;
  bool has_bias = false;

  LinearSpec() = default;
  explicit LinearSpec(const ArkitLinear& linear);
};

// See ArkitBlock.
struct BlockSpec {
  std::string_view name, norm_kind, activation;
  std::span<const LinearSpec> layers;
  std::span<const ArkitRole> roles;  // of `layers`
  int64_t hidden_size = 0, heads = 0, kv_heads = 0, head_dim = 0, rope_dim = 0, window = 0, width = 0;
  double attention_scale = 1, softcap = 0, residual_scale = 1, norm_epsilon = 0, norm_offset = 0;
  uint64_t norms = 0, flags = 0;

  BlockSpec() = default;
  BlockSpec(const ArkitBlock& block, std::span<const LinearSpec> its_layers);
};

struct Device {
  std::string kind = "cpu", name, vendor;
  int64_t index = 0;
  int64_t memory = 0;                                // bytes; 0 = not known
  uint64_t capabilities = ARKIT_DEVICE_HOST_MEMORY;  // without it the class is a DeviceBackend
  int score = 1;
};

// Whether and how well; see ArkitVerdict.
struct Answer {
  int score = 0;
  std::string why_not;
  bool own_activations = false;
  bool approximate = false;
  bool exact_too = false;
  bool cache_int8 = false;

  static Answer yes(int score) { return {score, {}, false, false, false, false}; }
  static Answer no(std::string why) { return {0, std::move(why), false, false, false, false}; }
};

struct ReleaseHeld {
  const ArkitHost* host = nullptr;
  void operator()(ArkitHeld* held) const { host->release(held); }
};

using HeldMemory = std::unique_ptr<ArkitHeld, ReleaseHeld>;

// Memory of the host that a backend keeps, with the tensor in it.
class HeldTensor {
 public:
  HeldTensor() = default;
  HeldTensor(const ArkitHost& host, ArkitHeld* held, const ArkitTensor& tensor)
      : shape_(tensor.shape, tensor.shape + tensor.rank), view_(tensor), held_(held, ReleaseHeld{&host}) {
    view_.shape = shape_;
  }
  HeldTensor(HeldTensor&&) noexcept = default;  // a vector that moves keeps its elements where they are
  HeldTensor& operator=(HeldTensor&&) noexcept = default;
  [[nodiscard]] const TensorView& view() const noexcept { return view_; }

 private:
  std::vector<int64_t> shape_;
  TensorView view_;
  HeldMemory held_;
};

// See ArkitWeights. Tensors live until prepare() returns.
class Weights {
 public:
  Weights(const ArkitWeights& weights, const ArkitHost& host) : weights_(&weights), host_(&host) {}

  [[nodiscard]] std::span<const char* const> packed_names() const {
    return {weights_->packed_names, weights_->packed_count};
  }
  [[nodiscard]] std::optional<TensorView> packed(std::string_view name) const {
    for (const char* known : packed_names())
      if (name == known) return get([&](ArkitTensor& out) { return weights_->packed(weights_->self, known, &out); });
    return std::nullopt;
  }
  // "codes", "scale", "zero_point" ...; none = this weight has no such tensor.
  [[nodiscard]] std::optional<TensorView> unpacked(const std::string& name) const {
    const TensorView tensor =
        get([&](ArkitTensor& out) { return weights_->unpacked(weights_->self, name.c_str(), &out); });
    return tensor.type == 0 ? std::nullopt : std::optional(tensor);
  }
  [[nodiscard]] TensorView dense(ArkitType type) const {
    return get([&](ArkitTensor& out) { return weights_->dense(weights_->self, type, &out, nullptr); });
  }
  // The same, to be kept.
  [[nodiscard]] HeldTensor held_dense(ArkitType type) const {
    ArkitTensor tensor{};
    tensor.struct_size = sizeof(tensor);
    ArkitHeld* held = nullptr;
    check(weights_->dense(weights_->self, type, &tensor, &held));
    return {*host_, held, tensor};
  }

 private:
  static void check(ArkitStatus status) {
    if (status != ARKIT_OK) throw BackendError(ARKIT_STOPPED, "the host cannot give the weights");
  }
  template <typename Get>
  static TensorView get(Get&& function) {
    ArkitTensor tensor{};
    tensor.struct_size = sizeof(tensor);
    check(function(tensor));
    return TensorView(tensor);
  }

  const ArkitWeights* weights_;
  const ArkitHost* host_;
};

// What Backend::prepare is given.
struct PrepareRequest {
  std::span<const LinearSpec> layers;
  std::span<const Weights> weights;  // one a layer
  const Device& device;
  ArkitType compute_type;
  std::span<const std::byte> blob;  // what save() wrote for these layers once; empty = none
  const ArkitPrepare* shown = nullptr;
  const ArkitHost* host = nullptr;

  // See ARKIT_PREPARE_EXACT.
  [[nodiscard]] bool exact() const {
    return shown != nullptr && ARKIT_HAS(ArkitPrepare, shown, flags) && (shown->flags & ARKIT_PREPARE_EXACT) != 0;
  }
  // Keeps the blob, which is mostly a mapped file, as long as what it returns. Null = it has to be copied.
  [[nodiscard]] HeldMemory hold_blob() const {
    const bool can = shown != nullptr && ARKIT_HAS(ArkitPrepare, shown, hold_blob) && shown->hold_blob != nullptr;
    return {can ? shown->hold_blob(shown->blob_self) : nullptr, ReleaseHeld{host}};
  }
};

// Takes a blob piece by piece.
class BlobSink {
 public:
  explicit BlobSink(const ArkitSink& sink) : sink_(&sink) {}
  void write(std::span<const std::byte> bytes) const {
    if (sink_->write(sink_->self, bytes.data(), bytes.size()) != ARKIT_OK)
      throw BackendError(ARKIT_STOPPED, "the host cannot take the blob");
  }

 private:
  const ArkitSink* sink_;
};

// The same for a decoder block; `layers` are its own.
struct BlockRequest : PrepareRequest {
  const BlockSpec& block;
  std::span<const std::optional<TensorView>, ARKIT_NORM_COUNT> norms;
};

// See ArkitBlockRun.
struct BlockRun {
  TensorView x, keys, values;
  std::optional<TensorView> cos, sin;
  std::span<const ArkitSpan* const> spans;
};

// Layers or a block made ready.
class Prepared {
 public:
  virtual ~Prepared() = default;
  Prepared() = default;
  Prepared(const Prepared&) = delete;
  Prepared& operator=(const Prepared&) = delete;

  [[nodiscard]] virtual int64_t bytes() const = 0;     // memory it holds
  [[nodiscard]] virtual ArkitType x_type() const = 0;  // what run() takes
  [[nodiscard]] virtual ArkitType y_type() const { return x_type(); }
  virtual void save(const BlobSink&) const { throw BackendError(ARKIT_UNSUPPORTED, "this backend keeps no blobs"); }
};

// One layer, or several on one input.
class PreparedLinears : public Prepared {
 public:
  // See ArkitBackend.run; may be called by several threads at once.
  virtual void run(const TensorView& x, std::span<const TensorView> y, ArkitStream* stream) = 0;
};

class PreparedBlock : public Prepared {
 public:
  // See ArkitBackend.run_block; may be called by several threads at once.
  virtual void run(const BlockRun& run, ArkitStream* stream) = 0;
};

// What an author writes. A constructor that takes `const ArkitHost&` is given the host, which lives as long as the
// process; one without arguments does as well.
class Backend {
 public:
  virtual ~Backend() = default;
  Backend() = default;
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;

  // Asked once. None = `why_none` says what is missing: "needs AVX512", "libexample.so.2 is not installed".
  [[nodiscard]] virtual std::vector<Device> devices(std::string& why_none) = 0;
  // One layer, or several that are fed the same input.
  [[nodiscard]] virtual Answer supports(std::span<const LinearSpec> layers, const Device& device) = 0;
  [[nodiscard]] virtual std::unique_ptr<PreparedLinears> prepare(const PrepareRequest& request) = 0;
  // Whole decoder blocks, for backends that have them.
  [[nodiscard]] virtual Answer supports_block(const BlockSpec& block, const Device&) {
    return Answer::no("block '" + std::string(block.name) + "': this backend runs layers, not blocks");
  }
  [[nodiscard]] virtual std::unique_ptr<PreparedBlock> prepare_block(const BlockRequest&) {
    throw BackendError(ARKIT_MISUSED, "this backend runs no blocks");
  }
  // See ArkitBackend.blob_compatibility.
  [[nodiscard]] virtual std::string blob_compatibility(std::span<const LinearSpec>, const Device&) { return {}; }
};

// A backend with memory of its own; see ArkitBackend for what each function promises.
class DeviceBackend : public Backend {
 public:
  [[nodiscard]] virtual ArkitBuffer* allocate(const Device& device, uint64_t bytes) = 0;
  virtual void free(ArkitBuffer* buffer) noexcept = 0;
  virtual void copy_in(ArkitBuffer* to, uint64_t offset, std::span<const std::byte> from, ArkitStream* stream) = 0;
  virtual void copy_out(std::span<std::byte> to, ArkitBuffer* from, uint64_t offset, ArkitStream* stream) = 0;
  [[nodiscard]] virtual ArkitStream* create_stream(const Device& device) = 0;
  virtual void destroy_stream(ArkitStream* stream) noexcept = 0;
  virtual void synchronize(ArkitStream* stream) = 0;
};

// ---- from here on: how the classes stand behind the door ------------------------------------------------------------

namespace door {

inline std::string_view text_of(const char* text) {
  return text == nullptr ? std::string_view() : std::string_view(text);
}

// Cut between two characters of UTF-8.
inline void put(ArkitText* to, std::string_view text) noexcept {
  if (to == nullptr || to->struct_size < ARKIT_TEXT_SIZE_1_0 || to->bytes == nullptr || to->capacity == 0) return;
  to->length = text.size();
  size_t fits = text.size() < to->capacity ? text.size() : to->capacity - 1;
  while (fits > 0 && fits < text.size() && (static_cast<unsigned char>(text[fits]) & 0xC0U) == 0x80U) --fits;
  std::memcpy(to->bytes, text.data(), fits);
  to->bytes[fits] = 0;
}

// No exception crosses the door.
template <typename Call>
ArkitStatus guarded(ArkitText* why, Call&& call) noexcept {
  try {
    std::forward<Call>(call)();
    return ARKIT_OK;
  } catch (const BackendError& error) {
    put(why, error.what());
    return error.status() == ARKIT_OK ? ARKIT_FAILED : error.status();
  } catch (const std::bad_alloc&) {
    put(why, "there is not enough memory");
    return ARKIT_RESOURCE;
  } catch (const std::exception& error) {
    put(why, error.what());
    return ARKIT_FAILED;
  } catch (...) {
    put(why, "an exception of an unknown type was thrown");
    return ARKIT_FAILED;
  }
}

// A struct of the host that is at least as long as in 1.0.
template <typename Struct>
const Struct& checked(const Struct* given, size_t least, const char* what) {
  if (given == nullptr || given->struct_size < least)
    throw BackendError(ARKIT_MISUSED,
                       std::string(what) + " is null or has less than " + std::to_string(least) + " bytes");
  return *given;
}

inline TensorView checked_tensor(const ArkitTensor* tensor) {
  return TensorView(checked(tensor, ARKIT_TENSOR_SIZE_1_0, "ArkitTensor"));
}

// The table of one backend and what it points to.
class Table {
 public:
  Table(std::unique_ptr<Backend> backend, const ArkitHost& host) : backend_(std::move(backend)), host_(&host) {
    table_.struct_size = sizeof(ArkitBackend);
    table_.self = this;
    table_.close = [](void* self) { delete static_cast<Table*>(self); };
    table_.devices = [](void* self, const ArkitDevice* const** list, size_t* count, ArkitText* why) {
      return guarded(why, [&] { of(self).devices(*list, *count, why); });
    };
    table_.supports = [](void* self, const ArkitUnit* unit, const ArkitDevice* device, ArkitVerdict* verdict,
                         ArkitText* why) {
      return guarded(why, [&] { of(self).supports(unit, device, verdict, why); });
    };
    table_.prepare = [](void* self, const ArkitPrepare* request, ArkitPrepared** prepared, ArkitPreparedInfo* info,
                        ArkitText* why) { return guarded(why, [&] { of(self).prepare(request, prepared, info); }); };
    table_.release = [](void*, ArkitPrepared* prepared) { delete unit_of(prepared); };
    table_.run_block = [](void*, ArkitPrepared* prepared, const ArkitBlockRun* run, ArkitStream* stream,
                          ArkitText* why) { return guarded(why, [&] { run_block(*unit_of(prepared), run, stream); }); };
    table_.run = [](void*, ArkitPrepared* prepared, const ArkitTensor* x, const ArkitTensor* const* y, size_t y_count,
                    ArkitStream* stream, ArkitText* why) {
      return guarded(why, [&] { run(as<PreparedLinears>(*unit_of(prepared)), x, {y, y_count}, stream); });
    };
    table_.blob_compatibility = [](void* self, const ArkitUnit* unit, const ArkitDevice* device, ArkitText* text,
                                   ArkitText* why) {
      return guarded(why, [&] {
        const std::vector<LinearSpec> layers = of(self).layers_of(unit);
        put(text, of(self).backend_->blob_compatibility(layers, of(self).device(device)));
      });
    };
    table_.save = [](void*, ArkitPrepared* prepared, const ArkitSink* sink, ArkitText* why) {
      return guarded(why, [&] { unit_of(prepared)->save(BlobSink(checked(sink, ARKIT_SINK_SIZE_1_1, "ArkitSink"))); });
    };
    memory_ = dynamic_cast<DeviceBackend*>(backend_.get());
    if (memory_ != nullptr) add_memory();
  }
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;

  [[nodiscard]] const ArkitBackend* table() const noexcept { return &table_; }

 private:
  struct KnownDevice {
    Device device;
    ArkitDevice shown{};
  };

  static Table& of(void* self) { return *static_cast<Table*>(self); }
  static Prepared* unit_of(ArkitPrepared* prepared) { return reinterpret_cast<Prepared*>(prepared); }
  template <typename Kind>
  static Kind& as(Prepared& unit) {
    if (auto* kind = dynamic_cast<Kind*>(&unit)) return *kind;
    throw BackendError(ARKIT_MISUSED, "a unit is run as one of another kind");
  }

  void add_memory() {
    table_.allocate_memory = [](void* self, const ArkitDevice* device, uint64_t bytes, ArkitBuffer** buffer,
                                ArkitText* why) {
      return guarded(why, [&] { *buffer = of(self).memory_->allocate(of(self).device(device), bytes); });
    };
    table_.free_memory = [](void* self, ArkitBuffer* buffer) { of(self).memory_->free(buffer); };
    table_.copy_in = [](void* self, ArkitBuffer* to, uint64_t offset, const void* from, uint64_t bytes,
                        ArkitStream* stream, ArkitText* why) {
      return guarded(why, [&] {
        of(self).memory_->copy_in(to, offset, {static_cast<const std::byte*>(from), bytes}, stream);
      });
    };
    table_.copy_out = [](void* self, void* to, ArkitBuffer* from, uint64_t offset, uint64_t bytes, ArkitStream* stream,
                         ArkitText* why) {
      return guarded(why, [&] {
        of(self).memory_->copy_out({static_cast<std::byte*>(to), bytes}, from, offset, stream);
      });
    };
    table_.create_stream = [](void* self, const ArkitDevice* device, ArkitStream** stream, ArkitText* why) {
      return guarded(why, [&] { *stream = of(self).memory_->create_stream(of(self).device(device)); });
    };
    table_.destroy_stream = [](void* self, ArkitStream* stream) { of(self).memory_->destroy_stream(stream); };
    table_.synchronize = [](void* self, ArkitStream* stream, ArkitText* why) {
      return guarded(why, [&] { of(self).memory_->synchronize(stream); });
    };
  }

  void find_devices() {
    const std::lock_guard lock(mutex_);
    if (asked_) return;
    std::vector<Device> found = backend_->devices(why_none_);
    for (Device& device : found) {
      KnownDevice& known = *known_.emplace_back(std::make_unique<KnownDevice>());
      known.device = std::move(device);
      known.shown = {sizeof(ArkitDevice),         known.device.kind.c_str(), known.device.name.c_str(),
                     known.device.vendor.c_str(), known.device.index,        known.device.memory,
                     known.device.capabilities,   known.device.score,        0};
      shown_.push_back(&known.shown);
    }
    asked_ = true;
  }

  void devices(const ArkitDevice* const*& list, size_t& count, ArkitText* why) {
    find_devices();
    list = shown_.data();
    count = shown_.size();
    if (shown_.empty()) put(why, why_none_.empty() ? "no device was found" : why_none_);
  }

  const Device& device(const ArkitDevice* shown) {
    find_devices();
    for (const auto& known : known_)
      if (&known->shown == shown) return known->device;
    throw BackendError(ARKIT_MISUSED, "the device is none of those that devices() gave");
  }

  std::vector<LinearSpec> layers_of(const ArkitUnit* given) {
    const ArkitUnit& unit = checked(given, ARKIT_UNIT_SIZE_1_0, "ArkitUnit");
    if (unit.kind != ARKIT_UNIT_LINEARS && unit.kind != ARKIT_UNIT_BLOCK)
      throw BackendError(ARKIT_UNSUPPORTED,
                         "units of kind " + std::to_string(unit.kind) + " are not known to this backend");
    std::vector<LinearSpec> layers;
    layers.reserve(unit.linear_count);
    for (size_t i = 0; i < unit.linear_count; ++i)
      layers.emplace_back(checked(unit.linears[i], ARKIT_LINEAR_SIZE_1_0, "ArkitLinear"));
    if (layers.empty()) throw BackendError(ARKIT_MISUSED, "a unit has no layers");
    return layers;
  }

  // None for layers.
  static std::optional<BlockSpec> block_of(const ArkitUnit& unit, std::span<const LinearSpec> layers) {
    if (unit.kind != ARKIT_UNIT_BLOCK) return std::nullopt;
    if (!ARKIT_HAS(ArkitUnit, &unit, block)) throw BackendError(ARKIT_MISUSED, "a block has no description");
    return BlockSpec(checked(unit.block, ARKIT_BLOCK_SIZE_1_2, "ArkitBlock"), layers);
  }

  void supports(const ArkitUnit* unit, const ArkitDevice* where, ArkitVerdict* verdict, ArkitText* why) {
    (void)checked(verdict, ARKIT_VERDICT_SIZE_1_0, "ArkitVerdict");
    const std::vector<LinearSpec> layers = layers_of(unit);
    const std::optional<BlockSpec> block = block_of(*unit, layers);
    const Answer answer =
        block ? backend_->supports_block(*block, device(where)) : backend_->supports(layers, device(where));
    verdict->score = answer.score;
    verdict->flags = (answer.own_activations ? ARKIT_VERDICT_OWN_ACTIVATIONS : 0U) |
                     (answer.approximate ? ARKIT_VERDICT_APPROXIMATE : 0U);
    if (host_->minor >= 3)
      verdict->flags |=
          (answer.exact_too ? ARKIT_VERDICT_EXACT_TOO : 0U) | (answer.cache_int8 ? ARKIT_VERDICT_CACHE_INT8 : 0U);
    if (answer.score <= 0) put(why, answer.why_not);
  }

  void prepare(const ArkitPrepare* given, ArkitPrepared** prepared, ArkitPreparedInfo* info) {
    const ArkitPrepare& request = checked(given, ARKIT_PREPARE_SIZE_1_0, "ArkitPrepare");
    (void)checked(info, ARKIT_PREPARED_INFO_SIZE_1_0, "ArkitPreparedInfo");
    const std::vector<LinearSpec> layers = layers_of(request.unit);
    std::vector<Weights> weights;
    for (size_t i = 0; i < layers.size(); ++i)
      weights.emplace_back(checked(request.weights[i], ARKIT_WEIGHTS_SIZE_1_0, "ArkitWeights"), *host_);
    std::span<const std::byte> blob;
    if (ARKIT_HAS(ArkitPrepare, given, blob_size))
      blob = {static_cast<const std::byte*>(request.blob), request.blob_size};
    const PrepareRequest asked{layers, weights, device(request.device), request.compute_type, blob, given, host_};
    std::unique_ptr<Prepared> unit;
    if (const std::optional<BlockSpec> block = block_of(*request.unit, layers)) {
      std::array<std::optional<TensorView>, ARKIT_NORM_COUNT> norms;
      if (!ARKIT_HAS(ArkitPrepare, given, norms) || request.norms == nullptr)
        throw BackendError(ARKIT_MISUSED, "a block has no norms");
      for (size_t i = 0; i < norms.size(); ++i)
        if (request.norms[i] != nullptr) norms[i] = checked_tensor(request.norms[i]);
      unit = backend_->prepare_block({asked, *block, norms});
    } else {
      unit = backend_->prepare(asked);
    }
    if (unit == nullptr) throw BackendError(ARKIT_FAILED, "nothing came back from prepare()");
    info->bytes = unit->bytes();
    info->x_type = unit->x_type();
    info->y_type = unit->y_type();
    *prepared = reinterpret_cast<ArkitPrepared*>(unit.release());
  }

  static void run_block(Prepared& unit, const ArkitBlockRun* given, ArkitStream* stream) {
    const ArkitBlockRun& run = checked(given, ARKIT_BLOCK_RUN_SIZE_1_2, "ArkitBlockRun");
    const auto table = [](const ArkitTensor* tensor) {
      return tensor == nullptr ? std::nullopt : std::optional(checked_tensor(tensor));
    };
    as<PreparedBlock>(unit).run({.x = checked_tensor(run.x),
                                 .keys = checked_tensor(run.keys),
                                 .values = checked_tensor(run.values),
                                 .cos = table(run.cos),
                                 .sin = table(run.sin),
                                 .spans = {run.spans, run.span_count}},
                                stream);
  }

  static void run(PreparedLinears& unit, const ArkitTensor* x, std::span<const ArkitTensor* const> y,
                  ArkitStream* stream) {
    if (y.size() == 1) {
      const TensorView one = checked_tensor(y[0]);
      return unit.run(checked_tensor(x), {&one, 1}, stream);
    }
    std::vector<TensorView> views;
    views.reserve(y.size());
    for (const ArkitTensor* tensor : y) views.push_back(checked_tensor(tensor));
    unit.run(checked_tensor(x), views, stream);
  }

  std::unique_ptr<Backend> backend_;
  DeviceBackend* memory_ = nullptr;  // *backend_, where it has memory of its own
  const ArkitHost* host_;
  ArkitBackend table_{};
  std::mutex mutex_;  // guards what follows until asked_ is set
  bool asked_ = false;
  std::string why_none_;
  std::vector<std::unique_ptr<KnownDevice>> known_;
  std::vector<const ArkitDevice*> shown_;
};

template <typename Class>
ArkitStatus open(const ArkitDoor* door, const ArkitBackend** backend, ArkitText* why) noexcept {
  return guarded(why, [&] {
    const ArkitHost* host =
        checked(door, ARKIT_DOOR_SIZE_1_0, "ArkitDoor").host(ARKIT_BACKEND_MAJOR, ARKIT_BACKEND_MINOR);
    if (host == nullptr || host->struct_size < ARKIT_HOST_SIZE_1_0)
      throw BackendError(ARKIT_UNSUPPORTED, "this arkit has no backend door " + std::to_string(ARKIT_BACKEND_MAJOR) +
                                                "." + std::to_string(ARKIT_BACKEND_MINOR));
    std::unique_ptr<Backend> made;
    if constexpr (std::is_constructible_v<Class, const ArkitHost&>)
      made = std::make_unique<Class>(*host);
    else
      made = std::make_unique<Class>();
    *backend = (new Table(std::move(made), *host))->table();
  });
}

}  // namespace door

inline QuantSpec::QuantSpec(const ArkitQuant& quant)
    : data_type(door::text_of(quant.data_type)),
      scale_dtype(door::text_of(quant.scale_dtype)),
      observer(door::text_of(quant.observer)),
      bits(quant.bits),
      group_size(quant.group_size),
      block_rows(quant.block_rows),
      super_group_size(quant.super_group_size),
      super_bits(quant.super_bits),
      sym(quant.sym != 0),
      dynamic(quant.dynamic != 0) {}

inline BlockSpec::BlockSpec(const ArkitBlock& block, std::span<const LinearSpec> its_layers)
    : name(door::text_of(block.name)),
      norm_kind(door::text_of(block.norm_kind)),
      activation(door::text_of(block.activation)),
      layers(its_layers),
      roles(block.roles, its_layers.size()),
      hidden_size(block.hidden_size),
      heads(block.heads),
      kv_heads(block.kv_heads),
      head_dim(block.head_dim),
      rope_dim(block.rope_dim),
      window(block.window),
      width(block.width),
      attention_scale(block.attention_scale),
      softcap(block.softcap),
      residual_scale(block.residual_scale),
      norm_epsilon(block.norm_epsilon),
      norm_offset(block.norm_offset),
      norms(block.norms),
      flags(block.flags) {}

inline LinearSpec::LinearSpec(const ArkitLinear& linear)
    : name(door::text_of(linear.name)),
      packing(door::text_of(linear.packing)),
      rotation(door::text_of(linear.rotation)),
      weight(door::checked(linear.weight, ARKIT_QUANT_SIZE_1_0, "ArkitQuant")),
      activation(door::checked(linear.activation, ARKIT_QUANT_SIZE_1_0, "ArkitQuant")),
      out_features(linear.out_features),
      in_features(linear.in_features),
      has_bias(linear.has_bias != 0) {}

}  // namespace arkit::sdk

// Exactly one per shared object, at namespace scope.
#define ARKIT_BACKEND(Class, plugin_id, plugin_version, plugin_vendor, plugin_license, plugin_url, backend_name, \
                      backend_summary)                                                                           \
  extern "C" const ArkitBackendManifest arkit_backend_manifest = {sizeof(ArkitBackendManifest),                  \
                                                                  ARKIT_BACKEND_MAGIC,                           \
                                                                  ARKIT_BACKEND_MAJOR,                           \
                                                                  ARKIT_BACKEND_MINOR,                           \
                                                                  0,                                             \
                                                                  plugin_id,                                     \
                                                                  plugin_version,                                \
                                                                  plugin_vendor,                                 \
                                                                  plugin_license,                                \
                                                                  plugin_url,                                    \
                                                                  backend_name,                                  \
                                                                  backend_summary,                               \
                                                                  &::arkit::sdk::door::open<Class>}
