// Reference backend: dequantizes once, multiplies with LibTorch.
#include <memory>
#include <utility>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/inference_backend.h>
#include <arkit/plugin.h>
#include <arkit/str.h>

namespace arkit {
namespace {

class DenseLinear final : public QuantLinear {
 public:
  DenseLinear(at::Tensor weight, at::Tensor bias) : weight_(std::move(weight)), bias_(std::move(bias)) {}

  at::Tensor forward(const at::Tensor& x) const override {
    if (x.scalar_type() == weight_.scalar_type()) return at::linear(x, weight_, bias_);
    return at::linear(x.to(weight_.scalar_type()), weight_, bias_).to(x.scalar_type());
  }
  int64_t bytes() const override {
    return static_cast<int64_t>(weight_.nbytes() + (bias_.defined() ? bias_.nbytes() : 0));
  }

 private:
  at::Tensor weight_, bias_;
};

class TorchBackend final : public InferenceBackend {
 public:
  const BackendInfo& info() const noexcept override {
    static const BackendInfo kInfo = {"torch", "dequantizes each layer once; reference for every packing", "cpu", {}};
    return kInfo;
  }

  Availability probe(const HostInfo&) const noexcept override { return {10, {}}; }

  Verdict supports(const LinearSpec& spec) const override {
    if (!spec.quant.rotation.empty())
      return Verdict::no(str("layer '", spec.name, "' needs the online rotation '", spec.quant.rotation, "'"));
    return Verdict::yes();
  }

  std::unique_ptr<QuantLinear> make_linear(const LinearSpec& spec, const TensorMap& packed,
                                           const std::function<at::Tensor(at::ScalarType)>& dequantized,
                                           at::ScalarType compute_dtype) const override {
    at::Tensor weight = dequantized(compute_dtype).contiguous();
    ARKIT_CHECK(weight.sizes() == at::IntArrayRef({spec.out_features, spec.in_features}),
                str("dequantized weight of '", spec.name, "' has a wrong shape"));
    const auto bias = packed.find("bias");
    if (spec.has_bias && bias == packed.end()) throw_input(str("packed layer '", spec.name, "' has no bias tensor"));
    at::Tensor own_bias;
    if (spec.has_bias) own_bias = bias->second.to(compute_dtype, false, true);  // a copy: `packed` may be a mapped view
    return std::make_unique<DenseLinear>(std::move(weight), std::move(own_bias));
  }
};

}  // namespace
}  // namespace arkit

ARKIT_PLUGIN("org.arkit.backend.torch", "0.1.0", "arkit", "Apache-2.0", "https://github.com/arkit/arkit",
             arkit::component<arkit::InferenceBackend, arkit::TorchBackend>("torch", "reference backend on LibTorch"));
