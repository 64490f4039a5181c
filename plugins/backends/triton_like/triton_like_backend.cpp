// Weights of every kind arkit packs on NVIDIA GPUs since Ampere: integers of 2 to 8 bits with zero points and any groups,
// and small floats, decoded in registers.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <arkit/sdk/cuda/tile_linears.h>

#include "gemv.h"

extern "C" const unsigned char arkit_triton_like_image[];

namespace {

namespace sdk = arkit::sdk;
namespace cuda = arkit::cuda;
using arkit::triton_like::GemvArgs;

constexpr const char* kPrefix = "triton_like";

// Up to four rows are too few for tensor cores to matter.
class Linears final : public cuda::TileLinears {
 public:
  using TileLinears::TileLinears;

 protected:
  bool run_special(cuda::GpuStream& stream, const cuda::TileLayer& layer, const Rows& rows) override {
    if (rows.count > 4) return false;
    const cuda::TileWeight& shape = layer.shape;
    const int64_t columns = shape.columns / cuda::kTileN, tiles = 2 * shape.steps;
    // Enough blocks for the GPU, and some tiles for each warp.
    const int64_t wanted = std::min(4 * gpu_.processors() / columns, tiles / (8 * arkit::triton_like::kGemvWarps));
    const auto parts = static_cast<int32_t>(std::clamp<int64_t>(wanted, 1, 32));
    GemvArgs args{};
    args.x = pointer<void>(rows.x);
    args.order = pointer<int32_t>(layer.order);
    args.weight = pointer<uint32_t>(layer.words);
    args.factors = pointer<void>(layer.factors);
    args.zeros = pointer<float>(layer.zero_points);
    args.bias = parts > 1 ? nullptr : pointer<float>(layer.bias);
    args.y = pointer<void>(rows.y);
    if (parts > 1)
      args.partial =
          pointer<float>(gpu_.scratch(stream, static_cast<uint64_t>(4 * parts * rows.count * shape.columns)));
    args.width = shape.inputs;
    args.rows = static_cast<int32_t>(rows.count);
    args.n = static_cast<int32_t>(shape.outputs);
    args.columns = static_cast<int32_t>(shape.columns);
    args.tiles = static_cast<int32_t>(tiles);
    args.group_tiles = static_cast<int32_t>(shape.group_tiles);
    args.factor_type = shape.factor_type;
    args.x_type = row_type();
    args.parts = parts;
    const int most = rows.count == 1 ? 1 : 4;
    gpu_.launch(stream, prefix_ + "_" + layer.weights + "_gemv" + std::to_string(most), {columns, parts, 1},
                arkit::triton_like::kGemvThreads, arkit::triton_like::gemv_shared(most), args);
    if (parts > 1) add(stream, layer, rows, args.partial, parts, 1);
    return true;
  }
};

class TritonLikeBackend final : public cuda::CudaBackend {
 public:
  TritonLikeBackend() : CudaBackend(arkit_triton_like_image, ARKIT_CUDA_TOOLKIT, 70) {}

  sdk::Answer supports(std::span<const sdk::LinearSpec> layers, const sdk::Device& device) override {
    for (const sdk::LinearSpec& layer : layers)
      if (cuda::NumbersOf known(layer); !known.why_not.empty()) return sdk::Answer::no(std::move(known.why_not));
    return sdk::Answer::yes(device.score);
  }

  std::unique_ptr<sdk::PreparedLinears> prepare(const sdk::PrepareRequest& request) override {
    cuda::Gpu& its = gpu(request.device);
    std::vector<cuda::TileLayer> layers;
    for (size_t i = 0; i < request.layers.size(); ++i) {
      const cuda::LayerNumbers numbers(request.layers[i], request.weights[i]);
      layers.emplace_back(its, cuda::TileWeight(numbers), name_of(numbers), numbers.numbers == cuda::Numbers::integers);
    }
    return std::make_unique<Linears>(its, kPrefix, request.compute_type, cuda::TileSizes::small_large,
                                     std::move(layers));
  }

 private:
  static std::string name_of(const cuda::LayerNumbers& layer) {
    switch (layer.numbers) {
      case cuda::Numbers::e2m1:
        return "e2m1";
      case cuda::Numbers::e4m3:
        return "e4m3";
      case cuda::Numbers::e5m2:
        return "e5m2";
      default:
        return std::to_string(layer.bits);
    }
  }
};

}  // namespace

ARKIT_BACKEND(TritonLikeBackend, "org.arkit.backend.triton_like", "0.1.0", "arkit", "Apache-2.0",
              "https://github.com/arkit/arkit", "triton_like",
              "kernels for all packings on NVIDIA GPUs since Ampere: 2 to 8 bits, FP8, MXFP4, NVFP4");
