#pragma once
// A backend runs packed linear layers on some device. The registry asks probe() once and supports() per layer, then the
// highest score wins; every "no" keeps its reason for `arkit list backends` and `arkit inspect`.

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include <ATen/core/Tensor.h>

#include <arkit/descriptors.h>
#include <arkit/export.h>
#include <arkit/model_source.h>

namespace arkit {

// A linear layer made ready for a device; owns (possibly repacked) weights.
class ARKIT_EXPORT QuantLinear {
 public:
  virtual ~QuantLinear();
  // x [..., in_features] f32 or bf16 -> [..., out_features] in x's dtype, bias included.
  [[nodiscard]] virtual at::Tensor forward(const at::Tensor& x) const = 0;
  [[nodiscard]] virtual int64_t bytes() const = 0;  // memory it holds
};

struct HostInfo {
  bool avx2 = false, avx512f = false, avx512_vnni = false, avx512_bf16 = false, amx_bf16 = false, amx_int8 = false;
  int threads = 1;
  std::string cpu_name;
};

// The machine this process runs on (CPUID; thread count respects the affinity mask).
[[nodiscard]] ARKIT_EXPORT const HostInfo& host_info();

struct Availability {
  int score = 0;        // 0 = not usable here; higher is preferred
  std::string why_not;  // for score 0: absent device, missing instruction set
};

struct BackendInfo {
  std::string_view name;
  std::string_view summary;
  std::string_view device;                     // "cpu", "cuda", "hpu"
  std::span<const std::string_view> packings;  // LinearSpec.packing values it reads; empty = asks supports()
};

class ARKIT_EXPORT InferenceBackend {
 public:
  virtual ~InferenceBackend();
  [[nodiscard]] virtual const BackendInfo& info() const noexcept = 0;
  [[nodiscard]] virtual Availability probe(const HostInfo& host) const noexcept = 0;
  [[nodiscard]] virtual Verdict supports(const LinearSpec& spec) const = 0;
  // `packed` by suffix, as the format stores them; `bias` among them. `dequantized` gives the exact weight for backends
  // without a kernel of their own for this packing [called at most once, during make_linear].
  [[nodiscard]] virtual std::unique_ptr<QuantLinear> make_linear(
      const LinearSpec& spec, const TensorMap& packed, const std::function<at::Tensor(at::ScalarType)>& dequantized,
      at::ScalarType compute_dtype) const = 0;
};

}  // namespace arkit
