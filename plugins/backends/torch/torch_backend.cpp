// Reference backend: dequantizes once, multiplies with LibTorch, whose tensors lie over the host's memory.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <arkit/sdk/backend.h>

namespace {

namespace sdk = arkit::sdk;

at::ScalarType torch_type(ArkitType type) {
  switch (type) {
    case ARKIT_FLOAT32:
      return at::kFloat;
    case ARKIT_BFLOAT16:
      return at::kBFloat16;
    case ARKIT_FLOAT16:
      return at::kHalf;
    case ARKIT_FLOAT64:
      return at::kDouble;
    default:
      throw sdk::BackendError(ARKIT_UNSUPPORTED,
                              "tensor type " + std::to_string(type) + " is no floating point of torch");
  }
}

at::Tensor over(const sdk::TensorView& tensor) {
  return at::from_blob(tensor.host, at::IntArrayRef(tensor.shape.data(), tensor.shape.size()), torch_type(tensor.type));
}

struct DenseLayer {
  sdk::HeldTensor held;  // the weight's memory, which is the host's
  at::Tensor weight_t;   // [in, out], a view of it
  at::Tensor bias;       // undefined = none
};

class DenseLinears final : public sdk::PreparedLinears {
 public:
  DenseLinears(ArkitType type, std::vector<DenseLayer> layers) : type_(type), layers_(std::move(layers)) {}

  int64_t bytes() const override {
    size_t all = 0;
    for (const DenseLayer& layer : layers_)
      all += layer.weight_t.nbytes() + (layer.bias.defined() ? layer.bias.nbytes() : 0);
    return static_cast<int64_t>(all);
  }
  ArkitType x_type() const override { return type_; }

  void run(const sdk::TensorView& x, std::span<const sdk::TensorView> y, ArkitStream*) override {
    const c10::InferenceMode no_gradients;
    const at::Tensor input = over(x);
    for (size_t i = 0; i < y.size(); ++i) {
      at::Tensor output = over(y[i]);
      const DenseLayer& layer = layers_[i];
      if (layer.bias.defined())
        at::addmm_out(output, layer.bias, input, layer.weight_t);
      else
        at::mm_out(output, input, layer.weight_t);
    }
  }

 private:
  ArkitType type_;
  std::vector<DenseLayer> layers_;
};

class TorchBackend final : public sdk::Backend {
 public:
  explicit TorchBackend(const ArkitHost& host) : host_(host) {}

  std::vector<sdk::Device> devices(std::string&) override {
    return {{.kind = "cpu", .name = host_.cpu_name, .vendor = "", .index = 0, .memory = 0, .score = kScore}};
  }

  sdk::Answer supports(std::span<const sdk::LinearSpec> layers, const sdk::Device&) override {
    for (const sdk::LinearSpec& layer : layers)
      if (!layer.rotation.empty())
        return sdk::Answer::no("layer '" + std::string(layer.name) + "' needs the online rotation '" +
                               std::string(layer.rotation) + "'");
    return sdk::Answer::yes(kScore);
  }

  std::unique_ptr<sdk::PreparedLinears> prepare(const sdk::PrepareRequest& request) override {
    std::vector<DenseLayer> layers;
    for (size_t i = 0; i < request.layers.size(); ++i) {
      DenseLayer& layer = layers.emplace_back();
      layer.held = request.weights[i].held_dense(request.compute_type);
      layer.weight_t = over(layer.held.view()).t();
      if (!request.layers[i].has_bias) continue;
      const auto bias = request.weights[i].packed("bias");
      if (!bias)
        throw sdk::BackendError(ARKIT_BAD_INPUT,
                                "packed layer '" + std::string(request.layers[i].name) + "' has no bias tensor");
      layer.bias = over(*bias).to(torch_type(request.compute_type), false, true);
    }
    return std::make_unique<DenseLinears>(request.compute_type, std::move(layers));
  }

 private:
  static constexpr int kScore = 10;  // every faster backend is preferred
  const ArkitHost& host_;
};

}  // namespace

ARKIT_BACKEND(TorchBackend, "org.arkit.backend.torch", "0.2.0", "arkit", "Apache-2.0", "https://github.com/arkit/arkit",
              "torch", "dequantizes each layer once; reference for every packing");
