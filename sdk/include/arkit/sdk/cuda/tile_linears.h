#pragma once
// Layers in the tiles of tile_gemm.h on a GPU: what a plugin's prepare() returns. The plugin names its kernels
// <prefix>_<weights>_<f16|bf16>_<small|medium|large>, <prefix>_arrange_<f16|bf16> and <prefix>_add.

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <arkit/sdk/cuda/cuda_backend.h>
#include <arkit/sdk/cuda/tile_weight.h>

namespace arkit::cuda {

inline constexpr int kRowThreads = 256;  // of the kernels before and after

// One layer in the GPU's memory.
struct TileLayer {
  TileWeight shape;     // its vectors are empty: they are up there
  std::string weights;  // names its kernels: "4", "e2m1"
  bool zeros = false;   // do its kernels know zero points?
  GpuMemory memory;
  DeviceAddress words = 0, factors = 0, zero_points = 0, order = 0, bias = 0;  // 0 = none

  TileLayer(Gpu& gpu, TileWeight weight, std::string its_weights, bool its_zeros)
      : weights(std::move(its_weights)), zeros(its_zeros) {
    const auto filled = [](size_t bytes) { return (bytes + 255) / 256 * 256; };
    const auto bytes = [](const auto& values) { return values.size() * sizeof(values[0]); };
    memory = GpuMemory(gpu, filled(bytes(weight.words)) + filled(bytes(weight.factors)) + filled(bytes(weight.zeros)) +
                                filled(bytes(weight.order)) + filled(bytes(weight.bias)));
    const Gpu::Use use(gpu);
    const Gpu::OwnStream own = gpu.own_stream();
    DeviceAddress next = memory.at();
    const auto put = [&](auto& values, DeviceAddress& to) {
      if (values.empty()) return;
      to = next;
      next += filled(bytes(values));
      gpu.check(gpu.driver().copy_in(to, values.data(), bytes(values), own.stream->stream), "weights are not accepted");
    };
    put(weight.words, words);
    put(weight.factors, factors);
    put(weight.zeros, zero_points);
    put(weight.order, order);
    put(weight.bias, bias);
    gpu.check(gpu.driver().synchronize(own.stream->stream), "weights were not copied");
    shape = std::move(weight);
    shape.words = {};
    shape.factors = {};
    shape.zeros = {};
    shape.order = {};
    shape.bias = {};
  }
};

// Which sizes of tiles a plugin has kernels for.
enum class TileSizes { all, small_large };

class TileLinears : public sdk::PreparedLinears {
 public:
  TileLinears(Gpu& gpu, std::string prefix, ArkitType compute_type, TileSizes sizes, std::vector<TileLayer> layers)
      : gpu_(gpu), prefix_(std::move(prefix)), type_(compute_type), sizes_(sizes), layers_(std::move(layers)) {
    if (type_ != ARKIT_FLOAT16 && type_ != ARKIT_BFLOAT16) type_ = ARKIT_FLOAT32;
  }

  [[nodiscard]] int64_t bytes() const override {
    int64_t all = 0;
    for (const TileLayer& layer : layers_) all += static_cast<int64_t>(layer.memory.bytes());
    return all;
  }
  [[nodiscard]] ArkitType x_type() const override { return type_; }

  void run(const sdk::TensorView& x, std::span<const sdk::TensorView> y, ArkitStream* stream) override {
    if (y.size() != layers_.size())
      throw sdk::BackendError(ARKIT_MISUSED, std::to_string(y.size()) + " outputs were given for " +
                                                 std::to_string(layers_.size()) + " layers");
    const Gpu::Use use(gpu_);
    if (stream != nullptr) return run_on(*CudaBackend::stream_of(stream), x, y);
    const Gpu::OwnStream own = gpu_.own_stream();
    run_on(*own.stream, x, y);
    gpu_.check(gpu_.driver().synchronize(own.stream->stream), "work failed");
  }

 protected:
  // Rows of x and y in the GPU's memory, as many as are run at once.
  struct Rows {
    DeviceAddress x, y;
    int64_t count;
  };
  // A kernel of the plugin's own for these rows; false = there is none.
  virtual bool run_special(GpuStream&, const TileLayer&, const Rows&) { return false; }

  Gpu& gpu_;
  std::string prefix_;
  ArkitType type_;

  [[nodiscard]] RowType row_type() const {
    return type_ == ARKIT_FLOAT32 ? RowType::float32 : (type_ == ARKIT_FLOAT16 ? RowType::float16 : RowType::bfloat16);
  }

 private:
  // More rows than this run in turns, so that scratch memory stays small.
  static constexpr int64_t kMostRows = 4096;
  // float32 is the sum of three bfloat16.
  static constexpr int kPartsOfFloat = 3;

  void run_on(GpuStream& stream, const sdk::TensorView& x, std::span<const sdk::TensorView> y) {
    const auto width = static_cast<size_t>(sdk::bytes_of(type_));
    for (size_t i = 0; i < layers_.size(); ++i) {
      const TileLayer& layer = layers_[i];
      const int64_t rows = static_cast<int64_t>(x.count()) / layer.shape.inputs;
      for (int64_t first = 0; first < rows; first += kMostRows) {
        const Rows some{address_of(x) + static_cast<uint64_t>(first * layer.shape.inputs) * width,
                        address_of(y[i]) + static_cast<uint64_t>(first * layer.shape.outputs) * width,
                        std::min(kMostRows, rows - first)};
        if (!run_special(stream, layer, some)) run_tiles(stream, layer, some);
      }
    }
  }

  void run_tiles(GpuStream& stream, const TileLayer& layer, const Rows& rows) {
    const TileWeight& shape = layer.shape;
    const bool wide = type_ == ARKIT_FLOAT32;
    const int x_parts = wide ? kPartsOfFloat : 1;
    const std::string type = type_ == ARKIT_FLOAT16 ? "_f16" : "_bf16";
    const int64_t count = rows.count * x_parts;
    const bool medium = sizes_ == TileSizes::all && count <= 32;
    const TileShape tile = count <= 16 ? kSmallTile : (medium ? kMediumTile : kLargeTile);
    const char* size = count <= 16 ? "_small" : (medium ? "_medium" : "_large");
    const bool arranged = wide || layer.order != 0 || shape.inputs % 8 != 0 || rows.x % 16 != 0;
    const int64_t stride = arranged ? shape.steps * 32 : shape.inputs;
    const int splits = parts_of(shape, tile, count);
    const bool add = wide || splits > 1;

    const auto filled = [](int64_t bytes) { return static_cast<uint64_t>((bytes + 255) / 256 * 256); };
    const uint64_t x_bytes = arranged ? filled(2 * count * stride) : 0;
    const uint64_t partial_bytes = add ? filled(4 * splits * count * shape.columns) : 0;
    const DeviceAddress scratch = x_bytes + partial_bytes > 0 ? gpu_.scratch(stream, x_bytes + partial_bytes) : 0;

    if (arranged) {
      const ArrangeArgs args{pointer<void>(rows.x),
                             pointer<int32_t>(layer.order),
                             pointer<uint16_t>(scratch),
                             rows.count,
                             shape.inputs,
                             stride,
                             x_parts,
                             row_type()};
      gpu_.launch(stream, prefix_ + "_arrange" + type, {blocks(rows.count * stride), 1, 1}, kRowThreads, 0, args);
    }
    TileArgs args{};
    args.x = pointer<uint16_t>(arranged ? scratch : rows.x);
    args.weight = pointer<uint32_t>(layer.words);
    args.factors = pointer<void>(layer.factors);
    args.zeros = pointer<float>(layer.zero_points);
    args.bias = add ? nullptr : pointer<float>(layer.bias);
    args.y = add ? nullptr : pointer<uint16_t>(rows.y);
    args.partial = add ? pointer<float>(scratch + x_bytes) : nullptr;
    args.x_stride = stride;
    args.rows = static_cast<int32_t>(count);
    args.n = static_cast<int32_t>(shape.outputs);
    args.columns = static_cast<int32_t>(shape.columns);
    args.steps = static_cast<int32_t>(shape.steps);
    args.group_tiles = static_cast<int32_t>(shape.group_tiles);
    args.x_width = static_cast<int32_t>(stride);
    args.factor_type = shape.factor_type;
    gpu_.launch(stream, prefix_ + "_" + layer.weights + type + size,
                {(shape.columns + tile.n() - 1) / tile.n(), (count + tile.m() - 1) / tile.m(), splits}, tile.threads(),
                StageBytes(shape.bits, layer.zeros, tile).block, args);
    if (add) this->add(stream, layer, rows, args.partial, splits, x_parts);
  }

  // Split-K where there are fewer blocks than fill the GPU; each part has some steps a slice, or it is all overhead.
  [[nodiscard]] int parts_of(const TileWeight& shape, TileShape tile, int64_t rows) const {
    const int64_t blocks = (shape.columns + tile.n() - 1) / tile.n() * ((rows + tile.m() - 1) / tile.m());
    const int64_t wanted = gpu_.processors() * (tile.slices > 1 ? 3 : 1) / blocks;
    return static_cast<int>(std::clamp<int64_t>(std::min(wanted, shape.steps / (4 * tile.slices)), 1, 16));
  }

 protected:
  // y from the parts of the inputs and of x.
  void add(GpuStream& stream, const TileLayer& layer, const Rows& rows, const float* partial, int splits, int x_parts) {
    AddArgs sum{};
    sum.partial = partial;
    sum.bias = pointer<float>(layer.bias);
    sum.y = pointer<void>(rows.y);
    sum.rows = rows.count;
    sum.n = static_cast<int32_t>(layer.shape.outputs);
    sum.columns = static_cast<int32_t>(layer.shape.columns);
    sum.splits = splits;
    sum.parts = x_parts;
    sum.type = row_type();
    gpu_.launch(stream, prefix_ + "_add", {blocks(rows.count * layer.shape.outputs), 1, 1}, kRowThreads, 0, sum);
  }
  static int64_t blocks(int64_t elements) { return (elements + kRowThreads - 1) / kRowThreads; }
  template <typename T>
  static T* pointer(DeviceAddress at) {
    return reinterpret_cast<T*>(static_cast<uintptr_t>(at));
  }

 private:
  TileSizes sizes_;
  std::vector<TileLayer> layers_;
};

}  // namespace arkit::cuda
