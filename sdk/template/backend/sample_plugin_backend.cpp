// Runs linear layers from their exact weight, one loop for each output: right for every packing, slow, and the
// reference of a faster kernel. No LibTorch and no library of arkit: <arkit/sdk/backend.h> is all there is.
#include <memory>
#include <string>
#include <vector>

#include <arkit/sdk/backend.h>

namespace {

namespace sdk = arkit::sdk;

std::vector<float> copied(const sdk::TensorView& tensor) {
  const auto values = tensor.values<float>();
  return {values.begin(), values.end()};
}

// One layer, or several that are fed the same x.
class LoopLinears final : public sdk::PreparedLinears {
 public:
  struct Layer {
    std::vector<float> weight, bias;  // [out, in]; empty = none
    size_t out = 0, in = 0;
  };
  explicit LoopLinears(std::vector<Layer> layers) : layers_(std::move(layers)) {}

  int64_t bytes() const override {
    size_t count = 0;
    for (const Layer& layer : layers_) count += layer.weight.size() + layer.bias.size();
    return static_cast<int64_t>(count * sizeof(float));
  }
  // arkit converts x to it, and the results back.
  ArkitType x_type() const override { return ARKIT_FLOAT32; }

  // No stream: this device says ARKIT_DEVICE_HOST_MEMORY, so the work is done when run() returns.
  void run(const sdk::TensorView& x, std::span<const sdk::TensorView> y, ArkitStream*) override {
    const auto input = x.values<const float>();
    for (size_t i = 0; i < layers_.size(); ++i) multiply(layers_[i], input, y[i].values<float>());
  }

 private:
  static void multiply(const Layer& layer, std::span<const float> x, std::span<float> y) {
    for (size_t at = 0; at < y.size(); ++at) {
      const size_t row = at / layer.out, o = at % layer.out;
      float sum = layer.bias.empty() ? 0.0F : layer.bias[o];
      for (size_t k = 0; k < layer.in; ++k) sum += x[row * layer.in + k] * layer.weight[o * layer.in + k];
      y[at] = sum;
    }
  }

  std::vector<Layer> layers_;
};

class SamplePluginBackend final : public sdk::Backend {
 public:
  // None = say what is missing: why_none = "needs AVX512". A constructor that takes `const ArkitHost&` learns what the
  // processor can do and how many threads there should be.
  std::vector<sdk::Device> devices(std::string&) override {
    return {{.kind = "cpu", .name = "one loop", .vendor = "Example", .score = kScore}};
  }

  sdk::Answer supports(std::span<const sdk::LinearSpec> layers, const sdk::Device&) override {
    for (const sdk::LinearSpec& layer : layers)
      if (!layer.rotation.empty())
        return sdk::Answer::no("layer '" + std::string(layer.name) + "': sample_plugin does not rotate its input");
    return sdk::Answer::yes(kScore);
  }

  // The place to repack. The weights are gone when it returns.
  std::unique_ptr<sdk::PreparedLinears> prepare(const sdk::PrepareRequest& request) override {
    std::vector<LoopLinears::Layer> layers;
    for (size_t i = 0; i < request.layers.size(); ++i) {
      const sdk::LinearSpec& spec = request.layers[i];
      LoopLinears::Layer& layer = layers.emplace_back();
      layer.out = static_cast<size_t>(spec.out_features);
      layer.in = static_cast<size_t>(spec.in_features);
      layer.weight = copied(request.weights[i].dense(ARKIT_FLOAT32));
      if (!spec.has_bias) continue;
      const auto bias = request.weights[i].packed("bias");
      if (!bias || bias->type != ARKIT_FLOAT32)
        throw sdk::BackendError(ARKIT_UNSUPPORTED, "layer '" + std::string(spec.name) + "': its bias is not float32");
      layer.bias = copied(*bias);
    }
    return std::make_unique<LoopLinears>(std::move(layers));
  }

 private:
  static constexpr int kScore = 1;  // every other backend is preferred
};

}  // namespace

ARKIT_BACKEND(SamplePluginBackend, "org.example.sample_plugin", "0.1.0", "Example", "Apache-2.0", "https://example.org",
              "sample_plugin", "one loop over the exact weight");
