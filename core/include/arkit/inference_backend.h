#pragma once
// What a program sees of backends, which run packed linear layers on some device: every "no" keeps its reason for
// `arkit list backends` and `arkit inspect`, and the highest score wins. Backends themselves stand behind a door made
// of C (backend_c.h); core/src/plugins/backend_door makes this of them.

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include <arkit/descriptors.h>
#include <arkit/export.h>
#include <arkit/model_layout.h>
#include <arkit/model_source.h>

namespace arkit {

struct QuantizedWeight;

// What a backend has made ready for a device; owns (possibly repacked) weights.
class ARKIT_EXPORT PreparedUnit {
 public:
  virtual ~PreparedUnit();
  [[nodiscard]] virtual int64_t bytes() const = 0;  // memory it holds
  // Writes the blob that making it again can start from, piece by piece; what `write` throws comes out of it.
  using Write = std::function<void(std::span<const std::byte>)>;
  virtual void save(const Write& write) const = 0;
};

// Linear layers that are fed one input, mostly one.
class ARKIT_EXPORT QuantLinear : public PreparedUnit {
 public:
  // x [..., in_features] f32 or bf16 -> [..., out_features] in x's dtype, bias included; one tensor a layer.
  [[nodiscard]] virtual std::vector<at::Tensor> forward_all(const at::Tensor& x) const = 0;

  // Of the only layer.
  [[nodiscard]] at::Tensor forward(const at::Tensor& x) const;
};

struct HostInfo {
  bool avx2 = false, avx512f = false, avx512_vnni = false, avx512_bf16 = false, amx_bf16 = false, amx_int8 = false;
  int threads = 1;
  std::string cpu_name;
};

// The machine this process runs on (CPUID; thread count respects the affinity mask).
[[nodiscard]] ARKIT_EXPORT const HostInfo& host_info();

struct Availability {
  int score = 0;        // of the best device; 0 = not usable here
  std::string why_not;  // for score 0: absent device, missing instruction set
};

struct BackendInfo {
  std::string_view name;
  std::string_view summary;
};

struct BackendDevice {
  std::string kind;  // "cpu", "cuda" ...
  std::string name, vendor;
  int64_t index = 0;
  int64_t memory = 0;        // bytes; 0 = not known
  bool host_memory = false;  // its kernels read this process's memory
  int score = 0;             // for a layer that suits it

  [[nodiscard]] ARKIT_EXPORT std::string id() const;  // "cuda:1"
  // Is it meant by "cuda", "cuda:1" or ""?
  [[nodiscard]] ARKIT_EXPORT bool is(std::string_view wanted) const;
};

// The answer about layers, from the device that is best for them.
struct BackendVerdict : Verdict {
  int score = 0;                 // 0 = no
  size_t device = 0;             // among devices()
  bool own_activations = false;  // takes its input as it is and rounds it itself
  bool approximate = false;      // computes with fewer digits of its input than the compute type has
  bool exact_too = false;        // unless LayerWeights::exact asks for all of them
  bool cache_int8 = false;       // of a block: see BlockStep
};

// A layer's weights as a backend asks for them while it is made ready.
struct LayerWeights {
  LinearSpec spec;
  TensorMap packed;                                       // by suffix, as the format stores them; `bias` among them
  std::function<QuantizedWeight()> codes;                 // null = there are none
  std::function<at::Tensor(at::ScalarType)> dequantized;  // the exact weight
  bool exact = false;                                     // see BackendVerdict::exact_too
};

// A decoder block that a backend may take whole; what is pointed to outlives it.
struct BlockSpec {
  const BlockLayout* layout = nullptr;
  const Rope* rope = nullptr;  // null = positions are not turned in
  int64_t hidden_size = 0;
  std::vector<const LinearSpec*> layers;  // as BlockLayout::layers
};

struct BlockWeights {
  BlockSpec spec;
  std::vector<LayerWeights> layers;                           // as spec.layers
  std::function<at::Tensor(const std::string& tensor)> norm;  // the factors of a norm, f32
};

// What a block made ready computes: new positions of sequences that keep their keys and values in pages.
struct BlockStep {
  struct Span {
    int64_t past = 0, count = 0;
    const int64_t* pages = nullptr;  // of the pools, in the order of positions
  };
  at::Tensor hidden;    // [rows, hidden_size], contiguous, in the compute dtype; the result takes its place
  at::Tensor cos, sin;  // f32 [rows, rope dim / 2], undefined without rope
  // Pools [pages, kv_heads, page_size, head_dim], f32 or bf16; or after BackendVerdict::cache_int8 i8 with head_dim + 4
  // and a page_size that is a multiple of 16.
  at::Tensor keys, values;
  std::span<const Span> spans;
};

class ARKIT_EXPORT QuantBlock : public PreparedUnit {
 public:
  virtual void run(const BlockStep& step) const = 0;
};

class ARKIT_EXPORT InferenceBackend {
 public:
  virtual ~InferenceBackend();
  [[nodiscard]] virtual const BackendInfo& info() const noexcept = 0;
  [[nodiscard]] virtual std::span<const BackendDevice> devices() const = 0;  // empty = probe() says why
  [[nodiscard]] virtual Availability probe() const = 0;
  // For layers that are fed one input and run together, on one of devices().
  [[nodiscard]] virtual BackendVerdict supports_on(std::span<const LinearSpec* const> layers, size_t device) const = 0;
  // On the device that supports_all named, for layers it said yes to; all share in_features. The weights may go when it
  // returns. `blob`, u8, is what was saved for these layers under this compatibility; undefined = start from weights.
  [[nodiscard]] virtual std::unique_ptr<QuantLinear> make_linears(std::span<const LayerWeights> layers, size_t device,
                                                                  at::ScalarType compute_dtype,
                                                                  const at::Tensor& blob) const = 0;
  // See ArkitBackend.blob_compatibility; "" = this backend saves nothing.
  [[nodiscard]] virtual std::string blob_compatibility(std::span<const LinearSpec* const> layers,
                                                       size_t device) const = 0;

  // Of the devices that are meant (BackendDevice::is) the one that is best.
  [[nodiscard]] BackendVerdict supports_all(std::span<const LinearSpec* const> layers,
                                            std::string_view wanted = {}) const;
  [[nodiscard]] std::unique_ptr<QuantLinear> make_linears(std::span<const LayerWeights> layers, size_t device,
                                                          at::ScalarType compute_dtype) const;

  // Whole blocks, on devices with host memory; the defaults say no.
  [[nodiscard]] virtual BackendVerdict supports_block(const BlockSpec& block, size_t device) const;
  [[nodiscard]] virtual std::unique_ptr<QuantBlock> make_block(const BlockWeights& block, size_t device,
                                                               at::ScalarType compute_dtype,
                                                               const at::Tensor& blob) const;

  // The same for one layer.
  [[nodiscard]] BackendVerdict supports(const LinearSpec& spec, std::string_view wanted = {}) const;
  [[nodiscard]] std::unique_ptr<QuantLinear> make_linear(const LayerWeights& layer, size_t device,
                                                         at::ScalarType compute_dtype) const;
};

}  // namespace arkit
