#include "ark_linears.h"

#include <algorithm>

#include <omp.h>

#include "float_rows.h"
#include "layer_blob.h"

namespace arkit::ark {
namespace {

constexpr int64_t kCodedRows = 512;  // whose codes are in memory together

}  // namespace

void ArkLinears::run(const sdk::TensorView& x, std::span<const sdk::TensorView> y, ArkitStream*) {
  const std::vector<ArkLayer>& layers = group_.layers();
  if (y.size() != layers.size()) throw sdk::BackendError(ARKIT_MISUSED, "there is not one output a layer");
  const int64_t width = group_.in_features(), rows = static_cast<int64_t>(x.count()) / width;
  const int64_t at_once = std::min(rows, kCodedRows);
  const int threads = rows * width * group_.panels() * kPanel >= kWorthThreads ? threads_ : 1;
  const int64_t row_scratch = group_.row_scratch() + width;

  thread_local Arena arena;
  arena.reserve(group_.input_bytes(at_once) + Arena::bytes<float>(threads * row_scratch));
  const std::vector<LayerGroup::Input> inputs = group_.take_inputs(arena, at_once);
  auto* const scratch = arena.take<float>(threads * row_scratch);
  const bool floats = type_ == ARKIT_FLOAT32;

  for (int64_t first = 0; first < rows; first += at_once) {
    const int64_t some = std::min(at_once, rows - first);
    std::vector<Output> outputs;
    for (size_t i = 0; i < layers.size(); ++i) {
      const int64_t out = layers[i].weight.out_features();
      outputs.push_back({.floats = floats ? static_cast<float*>(y[i].host) + first * out : nullptr,
                         .bfloat16 = floats ? nullptr : static_cast<uint16_t*>(y[i].host) + first * out,
                         .stride = out});
    }
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
      const int64_t me = omp_get_thread_num(), of = omp_get_num_threads();
      float* own = scratch + me * row_scratch;
      for (int64_t row = some * me / of; row < some * (me + 1) / of; ++row) {
        const int64_t at = (first + row) * width;
        const float* from = floats ? static_cast<const float*>(x.host) + at : own;
        if (!floats) to_floats(x, at, width, own);
        group_.quantize(from, inputs, row, own + width);
      }
#pragma omp barrier
      group_.multiply(group_.panels() * me / of, group_.panels() * (me + 1) / of, inputs, some, outputs);
    }
  }
}

void ArkLinears::save(const sdk::BlobSink& sink) const {
  std::vector<const ArkLayer*> layers;
  for (const ArkLayer& layer : group_.layers()) layers.push_back(&layer);
  write_layers(layers, sink);
}

}  // namespace arkit::ark
