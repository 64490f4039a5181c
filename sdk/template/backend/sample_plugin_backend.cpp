// Dequantizes a layer once and multiplies with LibTorch: right for every packing, and the reference of a faster kernel.
#include <ATen/ATen.h>

#include <arkit/inference_backend.h>
#include <arkit/plugin.h>

namespace {

class DequantizedLinear final : public arkit::QuantLinear {
 public:
  DequantizedLinear(at::Tensor weight, at::Tensor bias) : weight_(std::move(weight)), bias_(std::move(bias)) {}

  at::Tensor forward(const at::Tensor& x) const override {
    return at::linear(x.to(weight_.scalar_type()), weight_, bias_).to(x.scalar_type());
  }
  int64_t bytes() const override {
    return static_cast<int64_t>(weight_.nbytes() + (bias_.defined() ? bias_.nbytes() : 0));
  }

 private:
  at::Tensor weight_, bias_;  // in the compute type; bias may be undefined
};

class SamplePluginBackend final : public arkit::InferenceBackend {
 public:
  const arkit::BackendInfo& info() const noexcept override {
    static constexpr arkit::BackendInfo kInfo{
        .name = "sample_plugin", .summary = "dequantize once, multiply with LibTorch", .device = "cpu", .packings = {}};
    return kInfo;
  }

  // 1 = usable, and everything better wins. Score 0 needs a reason: {0, "needs AVX512"}.
  arkit::Availability probe(const arkit::HostInfo&) const noexcept override { return {1, {}}; }

  arkit::Verdict supports(const arkit::LinearSpec& spec) const override {
    if (spec.quant.act.quantized()) return arkit::Verdict::no("sample_plugin does not quantize activations");
    if (!spec.quant.rotation.empty()) return arkit::Verdict::no("sample_plugin does not rotate its input");
    return arkit::Verdict::yes();
  }

  std::unique_ptr<arkit::QuantLinear> make_linear(const arkit::LinearSpec&, const arkit::TensorMap& packed,
                                                  const std::function<at::Tensor(at::ScalarType)>& dequantized,
                                                  at::ScalarType compute_dtype) const override {
    const auto bias = packed.find("bias");
    return std::make_unique<DequantizedLinear>(dequantized(compute_dtype),
                                               bias == packed.end() ? at::Tensor() : bias->second.to(compute_dtype));
  }
};

}  // namespace

ARKIT_PLUGIN("org.example.sample_plugin", "0.1.0", "Example", "Apache-2.0", "https://example.org",
             arkit::component<arkit::InferenceBackend, SamplePluginBackend>("sample_plugin",
                                                                            "dequantize once, multiply with LibTorch"));
