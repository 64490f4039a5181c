// 4-bit weights on Gaudi accelerators, through the operator that the vendor registers with LibTorch. Nothing of the vendor's
// is needed to build it; what is missing on a machine is said.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <c10/core/Device.h>

#include "hpu_linears.h"
#include "hpu_runtime.h"

namespace {

namespace sdk = arkit::sdk;
namespace hpu = arkit::hpu;

class HpuBackend final : public sdk::Backend {
 public:
  std::vector<sdk::Device> devices(std::string& why_none) override {
    std::vector<sdk::Device> found;
    if (!hpu::load_runtime(why_none)) return found;
    const int count = hpu::device_count(why_none);
    for (int i = 0; i < count; ++i)
      found.push_back({.kind = "hpu", .name = "Gaudi", .vendor = "Intel", .index = i, .memory = 0, .score = 70});
    return found;
  }

  sdk::Answer supports(std::span<const sdk::LinearSpec> layers, const sdk::Device& device) override {
    for (const sdk::LinearSpec& layer : layers)
      if (std::string why = hpu::why_not(layer); !why.empty()) return sdk::Answer::no(std::move(why));
    return sdk::Answer::yes(device.score);
  }

  std::unique_ptr<sdk::PreparedLinears> prepare(const sdk::PrepareRequest& request) override {
    const at::Device device(at::kHPU, static_cast<c10::DeviceIndex>(request.device.index));
    std::vector<hpu::HpuLayer> layers;
    for (size_t i = 0; i < request.layers.size(); ++i) {
      const arkit::cuda::LayerNumbers numbers(request.layers[i], request.weights[i]);
      layers.emplace_back(hpu::HpuWeight(numbers, arkit::cuda::layer_text(request.layers[i])), device);
    }
    return std::make_unique<hpu::HpuLinears>(device, std::move(layers));
  }
};

}  // namespace

ARKIT_BACKEND(HpuBackend, "org.arkit.backend.hpu", "0.1.0", "arkit", "Apache-2.0", "https://github.com/arkit/arkit",
              "hpu", "4-bit weights on Gaudi accelerators through the vendor's operator");
