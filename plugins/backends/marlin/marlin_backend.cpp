// Symmetric weights of 4 and 8 bits on the tensor cores of NVIDIA GPUs since Ampere.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <arkit/sdk/cuda/tile_linears.h>

extern "C" const unsigned char arkit_marlin_image[];

namespace {

namespace sdk = arkit::sdk;
namespace cuda = arkit::cuda;

// What sets this plugin apart from the one for everything.
std::string why_not(const sdk::LinearSpec& layer) {
  const cuda::NumbersOf known(layer);
  if (!known.why_not.empty()) return known.why_not;
  const sdk::QuantSpec& weight = layer.weight;
  const std::string name = cuda::layer_text(layer);
  if (weight.data_type != "int" || (weight.bits != 4 && weight.bits != 8))
    return name + " has " + std::to_string(weight.bits) + "-bit '" + std::string(weight.data_type) +
           "' weights, and these kernels take integers of 4 and 8 bits";
  if (!weight.sym) return name + " has zero points, and these kernels take symmetric weights";
  if (weight.block_rows > 0) return name + " has scales of two-dimensional blocks";
  const int64_t group = weight.group_size;
  if (group != -1 && group != 32 && group != 64 && group != 128 && group != layer.in_features)
    return name + " has groups of " + std::to_string(group) +
           ", and these kernels take 32, 64, 128 and whole rows (-1)";
  if (layer.activation.quantized())
    return name + " has activations of " + std::to_string(layer.activation.bits) +
           " bits, and these kernels multiply by floating point";
  return {};
}

class MarlinBackend final : public cuda::CudaBackend {
 public:
  MarlinBackend() : CudaBackend(arkit_marlin_image, ARKIT_CUDA_TOOLKIT, 80) {}

  sdk::Answer supports(std::span<const sdk::LinearSpec> layers, const sdk::Device& device) override {
    for (const sdk::LinearSpec& layer : layers)
      if (std::string why = why_not(layer); !why.empty()) return sdk::Answer::no(std::move(why));
    return sdk::Answer::yes(device.score);
  }

  std::unique_ptr<sdk::PreparedLinears> prepare(const sdk::PrepareRequest& request) override {
    cuda::Gpu& its = gpu(request.device);
    std::vector<cuda::TileLayer> layers;
    for (size_t i = 0; i < request.layers.size(); ++i) {
      const cuda::LayerNumbers numbers(request.layers[i], request.weights[i]);
      if (!numbers.zeros.empty())
        throw sdk::BackendError(ARKIT_BAD_INPUT,
                                cuda::layer_text(request.layers[i]) + " is called symmetric and has other zero points");
      layers.emplace_back(its, cuda::TileWeight(numbers), std::to_string(numbers.bits), false);
    }
    return std::make_unique<cuda::TileLinears>(its, "marlin", request.compute_type, cuda::TileSizes::all,
                                               std::move(layers));
  }
};

}  // namespace

ARKIT_BACKEND(MarlinBackend, "org.arkit.backend.marlin", "0.1.0", "arkit", "Apache-2.0",
              "https://github.com/arkit/arkit", "marlin",
              "4- and 8-bit kernels for the tensor cores of NVIDIA GPUs since Ampere");
