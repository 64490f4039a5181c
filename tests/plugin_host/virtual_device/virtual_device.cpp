// A device without hardware: its memory cannot be read by the host (a look at it crashes), its kernels run only when a
// stream is synchronized, and whoever breaks a rule of the door is told. Compiled without LibTorch, by several
// compilers.
//
// virtual:0 runs all linear layers, virtual:1 those with a bias, and is better at them. Weights of data type int come
// as codes, others as they stand for. Integer activations are its own affair: it keeps them in float32.
//
// Tests say what else it is: ARKIT_TEST_VIRTUAL_FAILS names a function that fails, ARKIT_TEST_VIRTUAL_SCORE is what it
// answers for a layer, ARKIT_TEST_VIRTUAL_BITS which weights alone it runs, ARKIT_TEST_VIRTUAL_LAYOUT which layout its
// blobs have, and with ARKIT_TEST_VIRTUAL_HOLDS it keeps the blob it was made of.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <sys/mman.h>

#include <arkit/sdk/backend.h>

namespace {

namespace sdk = arkit::sdk;

// Tests name the function that is to fail.
bool to_fail(const char* function) {
  const char* name = std::getenv("ARKIT_TEST_VIRTUAL_FAILS");
  return name != nullptr && std::strcmp(name, function) == 0;
}

// The number tests have set, else the usual one.
int number(const char* variable, int usual) {
  const char* text = std::getenv(variable);
  return text == nullptr ? usual : std::atoi(text);
}

[[noreturn]] void misused(const std::string& why) {
  throw sdk::BackendError(ARKIT_MISUSED, why);
}

// Buffers are known by their address; nobody can look behind it while no kernel runs.
class Memory {
 public:
  ~Memory() {
    if (buffers_.empty()) return;
    std::fprintf(stderr, "virtual device: %zu buffers were never freed\n", buffers_.size());
    std::abort();
  }

  ArkitBuffer* allocate(uint64_t bytes) {
    if (to_fail("allocate_memory")) throw sdk::BackendError(ARKIT_RESOURCE, "the virtual device has no memory left");
    void* pages = ::mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) throw std::bad_alloc();
    const std::lock_guard lock(mutex_);
    buffers_[static_cast<ArkitBuffer*>(pages)] = bytes;
    return static_cast<ArkitBuffer*>(pages);
  }
  void free(ArkitBuffer* buffer) noexcept {
    const std::lock_guard lock(mutex_);
    const auto found = buffers_.find(buffer);
    if (found == buffers_.end()) std::abort();  // twice, or never allocated
    ::munmap(found->first, found->second);
    buffers_.erase(found);
  }
  void check(ArkitBuffer* buffer, uint64_t offset, uint64_t bytes) const {
    const std::lock_guard lock(mutex_);
    const auto found = buffers_.find(buffer);
    if (found == buffers_.end()) misused("a buffer is none of this device");
    if (offset > found->second || bytes > found->second - offset)
      misused("bytes " + std::to_string(offset) + " to " + std::to_string(offset + bytes) + " are not in a buffer of " +
              std::to_string(found->second));
  }
  // Runs kernels with all memory open to them, one stream at a time.
  void run(const std::function<void()>& kernels) {
    const std::lock_guard lock(mutex_);
    protect(PROT_READ | PROT_WRITE);
    try {
      kernels();
    } catch (...) {
      protect(PROT_NONE);
      throw;
    }
    protect(PROT_NONE);
  }

 private:
  void protect(int how) const {
    for (const auto& [buffer, bytes] : buffers_)
      if (::mprotect(buffer, bytes, how) != 0) throw sdk::BackendError(ARKIT_RESOURCE, "mprotect failed");
  }

  mutable std::mutex mutex_;
  std::map<ArkitBuffer*, uint64_t> buffers_;
};

template <typename T>
T* at(ArkitBuffer* buffer, uint64_t offset = 0) {
  return reinterpret_cast<T*>(reinterpret_cast<std::byte*>(buffer) + offset);
}

struct Stream {
  std::vector<std::function<void()>> work;
};

Stream* stream_of(ArkitStream* stream) {
  return reinterpret_cast<Stream*>(stream);
}

void enqueue(Memory& memory, ArkitStream* stream, std::function<void()> work) {
  if (stream == nullptr)
    memory.run(work);
  else
    stream_of(stream)->work.push_back(std::move(work));
}

float from_bits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

float from_half(uint16_t half) {
  const int exponent = (half >> 10) & 31, mantissa = half & 1023;
  const float sign = (half & 0x8000) != 0 ? -1.0F : 1.0F;
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(mantissa), -24);
  if (exponent == 31) return mantissa == 0 ? sign * INFINITY : NAN;
  return sign * std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25);
}

std::vector<float> floats(const sdk::TensorView& tensor) {
  std::vector<float> out;
  out.reserve(tensor.count());
  if (tensor.type == ARKIT_FLOAT32)
    for (const float value : tensor.values<float>()) out.push_back(value);
  else if (tensor.type == ARKIT_BFLOAT16)
    for (const uint16_t value : tensor.values<uint16_t>()) out.push_back(from_bits(uint32_t{value} << 16));
  else if (tensor.type == ARKIT_FLOAT16)
    for (const uint16_t value : tensor.values<uint16_t>()) out.push_back(from_half(value));
  else if (tensor.type == ARKIT_UINT8)
    for (const uint8_t value : tensor.values<uint8_t>()) out.push_back(value);
  else
    throw sdk::BackendError(ARKIT_UNSUPPORTED, "tensor type " + std::to_string(tensor.type) + " is not known here");
  return out;
}

// From codes where there are codes in rows of groups, else the weight itself.
std::vector<float> weight_of(const sdk::LinearSpec& layer, const sdk::Weights& weights) {
  const auto codes = weights.unpacked("codes");
  if (layer.weight.data_type != "int" || !codes || codes->type != ARKIT_UINT8 || weights.unpacked("g_idx"))
    return floats(weights.dense(ARKIT_FLOAT32));
  const auto scale = weights.unpacked("scale"), zero = weights.unpacked("zero_point");
  const auto out = static_cast<size_t>(layer.out_features), in = static_cast<size_t>(layer.in_features);
  const size_t groups = scale->count() / out;
  const size_t group = layer.weight.group_size > 0 ? static_cast<size_t>(layer.weight.group_size) : in;
  if (scale->count() != out * groups || groups != (in + group - 1) / group) return floats(weights.dense(ARKIT_FLOAT32));
  const std::vector<float> scales = floats(*scale), zeros = zero ? floats(*zero) : std::vector<float>();
  const auto added = weights.unpacked("offset");
  const std::vector<float> offsets = added ? floats(*added) : std::vector<float>();
  const auto middle = static_cast<float>(1U << (layer.weight.bits - 1));
  std::vector<float> weight = floats(*codes);
  for (size_t row = 0; row < out; ++row)
    for (size_t column = 0; column < in; ++column) {
      const size_t g = row * groups + column / group;
      float& value = weight[row * in + column];
      value =
          offsets.empty() ? (value - (zeros.empty() ? middle : zeros[g])) * scales[g] : value * scales[g] + offsets[g];
    }
  return weight;
}

// Weights and biases of the layers one behind the other, in one buffer of the device.
class VirtualLinears final : public sdk::PreparedLinears {
 public:
  VirtualLinears(Memory& memory, const sdk::PrepareRequest& request) : memory_(memory) {
    std::vector<float> all;
    for (const sdk::LinearSpec& layer : request.layers)
      layers_.push_back(
          {static_cast<size_t>(layer.out_features), static_cast<size_t>(layer.in_features), layer.has_bias});
    if (request.blob.empty()) {
      for (size_t i = 0; i < layers_.size(); ++i) append(all, request.layers[i], request.weights[i]);
    } else {
      if (to_fail("blob")) throw sdk::BackendError(ARKIT_BAD_INPUT, "a blob is not understood");
      all.resize(request.blob.size() / sizeof(float));
      std::memcpy(all.data(), request.blob.data(), all.size() * sizeof(float));
      if (std::getenv("ARKIT_TEST_VIRTUAL_HOLDS") != nullptr) {
        held_ = request.hold_blob();
        if (held_ == nullptr) throw std::runtime_error("the blob cannot be held");
        blob_ = request.blob;
      }
    }
    size_t expected = 0;
    for (const Layer& layer : layers_) expected += layer.size();
    if (all.size() != expected) throw sdk::BackendError(ARKIT_BAD_INPUT, "a blob has another size than its layers");
    count_ = all.size();
    buffer_ = memory_.allocate(count_ * sizeof(float));
    memory_.run([&] { std::memcpy(at<float>(buffer_), all.data(), count_ * sizeof(float)); });
  }
  ~VirtualLinears() override { memory_.free(buffer_); }

  int64_t bytes() const override { return static_cast<int64_t>(count_ * sizeof(float)); }
  ArkitType x_type() const override { return ARKIT_FLOAT32; }

  void run(const sdk::TensorView& x, std::span<const sdk::TensorView> y, ArkitStream* stream) override {
    if (to_fail("run")) throw std::runtime_error("a kernel cannot be started");
    if (y.size() != layers_.size()) misused("there are " + std::to_string(y.size()) + " outputs");
    check(x, layers_.front().in);
    for (size_t i = 0; i < y.size(); ++i) check(y[i], layers_[i].out);
    const auto rows = static_cast<size_t>(x.shape[0]);
    std::vector<Place> outputs;
    for (const sdk::TensorView& one : y) outputs.push_back({one.buffer, one.offset});
    // Views may die when this returns.
    enqueue(memory_, stream, [this, from = Place{x.buffer, x.offset}, outputs, rows] {
      if (to_fail("kernel")) throw std::runtime_error("a kernel failed");
      const float* weight = at<float>(buffer_);
      for (size_t i = 0; i < layers_.size(); ++i) {
        multiply(at<float>(from.buffer, from.offset), rows, layers_[i], weight,
                 at<float>(outputs[i].buffer, outputs[i].offset));
        weight += layers_[i].size();
      }
    });
  }

  void save(const sdk::BlobSink& sink) const override {
    if (held_ != nullptr) return sink.write(blob_);
    std::vector<float> all(count_);
    memory_.run([&] { std::memcpy(all.data(), at<float>(buffer_), count_ * sizeof(float)); });
    const auto bytes = std::as_bytes(std::span(all));
    sink.write(bytes.first(bytes.size() / 2));
    sink.write(bytes.subspan(bytes.size() / 2));
  }

 private:
  struct Layer {
    size_t out, in;
    bool has_bias;
    size_t size() const { return out * in + (has_bias ? out : 0); }
  };
  struct Place {
    ArkitBuffer* buffer;
    uint64_t offset;
  };

  static void append(std::vector<float>& all, const sdk::LinearSpec& layer, const sdk::Weights& weights) {
    const std::vector<float> weight = weight_of(layer, weights);
    all.insert(all.end(), weight.begin(), weight.end());
    if (!layer.has_bias) return;
    const auto bias = weights.packed("bias");
    if (!bias)
      throw sdk::BackendError(ARKIT_BAD_INPUT, "packed layer '" + std::string(layer.name) + "' has no bias tensor");
    const std::vector<float> values = floats(*bias);
    all.insert(all.end(), values.begin(), values.end());
  }

  void check(const sdk::TensorView& tensor, size_t columns) const {
    if (tensor.host != nullptr) misused("a tensor lies in memory of the host");
    if (tensor.type != ARKIT_FLOAT32) misused("a tensor is not float32");
    if (tensor.shape.size() != 2 || tensor.shape[0] < 1 || static_cast<size_t>(tensor.shape[1]) != columns)
      misused("a tensor has a wrong shape");
    memory_.check(tensor.buffer, tensor.offset, tensor.bytes());
  }

  static void multiply(const float* x, size_t rows, const Layer& layer, const float* weight, float* y) {
    const float* bias = weight + layer.out * layer.in;
    for (size_t row = 0; row < rows; ++row)
      for (size_t o = 0; o < layer.out; ++o) {
        double sum = layer.has_bias ? double{bias[o]} : 0.0;
        for (size_t k = 0; k < layer.in; ++k) sum += double{x[row * layer.in + k]} * double{weight[o * layer.in + k]};
        y[row * layer.out + o] = static_cast<float>(sum);
      }
  }

  Memory& memory_;
  std::vector<Layer> layers_;
  ArkitBuffer* buffer_ = nullptr;
  size_t count_ = 0;
  sdk::HeldMemory held_;
  std::span<const std::byte> blob_;  // while it is held
};

class VirtualDevice final : public sdk::DeviceBackend {
 public:
  std::vector<sdk::Device> devices(std::string& why_none) override {
    if (to_fail("devices")) {
      why_none = "needs a virtual driver";
      return {};
    }
    std::vector<sdk::Device> found;
    for (int64_t index = 0; index < 2; ++index)
      found.push_back({.kind = "virtual",
                       .name = "nothing at all",
                       .vendor = "arkit",
                       .index = index,
                       .memory = int64_t{1} << 30,
                       .capabilities = 0,
                       .score = static_cast<int>(5 + index)});
    return found;
  }

  sdk::Answer supports(std::span<const sdk::LinearSpec> layers, const sdk::Device& device) override {
    if (to_fail("supports")) throw std::runtime_error("it cannot say");
    bool own_activations = true;
    for (const sdk::LinearSpec& layer : layers) {
      const std::string name = "layer '" + std::string(layer.name) + "' ";
      if (!layer.rotation.empty())
        return sdk::Answer::no(name + "needs the online rotation '" + std::string(layer.rotation) + "'");
      if (device.index == 1 && !layer.has_bias) return sdk::Answer::no(name + "has no bias");
      if (const int bits = number("ARKIT_TEST_VIRTUAL_BITS", layer.weight.bits); layer.weight.bits != bits)
        return sdk::Answer::no(name + "has weights of " + std::to_string(layer.weight.bits) + " bits, not " +
                               std::to_string(bits));
      own_activations = own_activations && layer.activation.quantized() && layer.activation.data_type == "int";
    }
    sdk::Answer answer = sdk::Answer::yes(number("ARKIT_TEST_VIRTUAL_SCORE", device.score));
    answer.own_activations = own_activations;
    answer.exact_too = true;
    return answer;
  }

  std::unique_ptr<sdk::PreparedLinears> prepare(const sdk::PrepareRequest& request) override {
    if (to_fail("prepare")) throw 42;
    return std::make_unique<VirtualLinears>(memory_, request);
  }
  std::string blob_compatibility(std::span<const sdk::LinearSpec>, const sdk::Device& device) override {
    return "virtual float32 " + std::to_string(number("ARKIT_TEST_VIRTUAL_LAYOUT", 1)) + " " + device.kind;
  }

  ArkitBuffer* allocate(const sdk::Device&, uint64_t bytes) override { return memory_.allocate(bytes); }
  void free(ArkitBuffer* buffer) noexcept override { memory_.free(buffer); }
  void copy_in(ArkitBuffer* to, uint64_t offset, std::span<const std::byte> from, ArkitStream* stream) override {
    memory_.check(to, offset, from.size());
    enqueue(memory_, stream, [=] { std::memcpy(at<std::byte>(to, offset), from.data(), from.size()); });
  }
  void copy_out(std::span<std::byte> to, ArkitBuffer* from, uint64_t offset, ArkitStream* stream) override {
    memory_.check(from, offset, to.size());
    enqueue(memory_, stream, [=] { std::memcpy(to.data(), at<std::byte>(from, offset), to.size()); });
  }
  ArkitStream* create_stream(const sdk::Device&) override { return reinterpret_cast<ArkitStream*>(new Stream()); }
  void destroy_stream(ArkitStream* stream) noexcept override { delete stream_of(stream); }
  void synchronize(ArkitStream* stream) override {
    if (stream == nullptr) return;
    const std::vector<std::function<void()>> work = std::exchange(stream_of(stream)->work, {});
    memory_.run([&] {
      for (const std::function<void()>& one : work) one();
    });
  }

 private:
  Memory memory_;
};

}  // namespace

ARKIT_BACKEND(VirtualDevice, "org.arkit.test.virtual_device", "1.0", "arkit", "Apache-2.0",
              "https://github.com/arkit/arkit", "virtual_device", "a device whose memory only its kernels can read");
