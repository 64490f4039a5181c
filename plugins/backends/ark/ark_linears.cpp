#include "ark_linears.h"

#include <algorithm>
#include <cstring>

#include <omp.h>

#include <arkit/sdk/float16.h>

namespace arkit::ark {
namespace {

constexpr int64_t kRowsAtOnce = 512;   // whose codes are in memory together
constexpr int64_t kRowsOfPanel = 96;   // whose sums stay in the first cache
constexpr int64_t kWorthThreads = int64_t{1} << 19;  // products of codes that pay for waking other threads

// Memory that a thread keeps between calls.
struct Arena {
  std::vector<std::byte> memory;
  size_t used = 0;

  template <typename T>
  T* take(int64_t count) {
    T* at = reinterpret_cast<T*>(memory.data() + used);
    used += (static_cast<size_t>(count) * sizeof(T) + 63) / 64 * 64;
    return at;
  }
};

void write_row(const float* sums, int64_t count, float factor, const float* bias, ArkitType type, void* y, int64_t at) {
  const auto value = [&](int64_t i) { return sums[i] * factor + (bias == nullptr ? 0.0F : bias[i]); };
  if (type == ARKIT_FLOAT32) {
    float* to = static_cast<float*>(y) + at;
    for (int64_t i = 0; i < count; ++i) to[i] = value(i);
  } else {
    auto* to = static_cast<uint16_t*>(y) + at;
    for (int64_t i = 0; i < count; ++i) to[i] = sdk::float_to_bfloat16(value(i));
  }
}

// A blob: this, then for each layer the sizes in bytes of weight, bias and order, and these three.
constexpr char kMagic[8] = {'a', 'r', 'k', 'l', 'i', 'n', '0', '1'};
struct BlobHead {
  char magic[8];
  uint64_t layers;
};
constexpr uint64_t kMostLayers = 1024;

[[noreturn]] void bad_blob() {
  throw sdk::BackendError(ARKIT_BAD_INPUT, "the kept weights are damaged");
}

std::span<const std::byte> taken(std::span<const std::byte>& blob, size_t count) {
  if (count > blob.size()) bad_blob();
  const std::span<const std::byte> part = blob.first(count);
  blob = blob.subspan(count);
  return part;
}

template <typename T>
std::vector<T> values_of(std::span<const std::byte> bytes) {
  if (bytes.size() % sizeof(T) != 0) bad_blob();
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

}  // namespace

ArkLinears::ArkLinears(const Kernels& kernels, int threads, ArkitType type, std::vector<ArkLayer> layers)
    : kernels_(kernels), threads_(threads), type_(type), layers_(std::move(layers)) {
  for (size_t i = 0; i < layers_.size(); ++i) {
    const ArkLayer& layer = layers_[i];
    const auto alike = [&](size_t other) {
      return layers_[other].weight.blocks() == layer.weight.blocks() && layers_[other].order == layer.order;
    };
    const auto found = std::find_if(inputs_.begin(), inputs_.end(), alike);
    input_of_.push_back(static_cast<size_t>(found - inputs_.begin()));
    if (found == inputs_.end()) inputs_.push_back(i);
    panels_to_.push_back(layer.weight.panels() + (i == 0 ? 0 : panels_to_.back()));
  }
}

int64_t ArkLinears::bytes() const {
  size_t all = 0;
  for (const ArkLayer& layer : layers_)
    all += layer.weight.bytes().size() + layer.bias.size() * sizeof(float) + layer.order.size() * sizeof(int32_t);
  return static_cast<int64_t>(all);
}

// Row `row` of x to row `to` of the input; `scratch` has room for two rows.
void ArkLinears::quantize(const sdk::TensorView& x, int64_t row, const Input& input, int64_t to, float* scratch) const {
  const Blocks& blocks = input.of->weight.blocks();
  const int64_t width = blocks.in_features;
  const float* from = nullptr;
  if (type_ == ARKIT_FLOAT32) {
    from = static_cast<const float*>(x.host) + row * width;
  } else {
    const auto* halves = static_cast<const uint16_t*>(x.host) + row * width;
    for (int64_t k = 0; k < width; ++k) scratch[k] = sdk::bfloat16_to_float(halves[k]);
    from = scratch;
  }
  float* next = scratch + std::max(width, blocks.depth());
  if (!input.of->order.empty()) {
    for (int64_t k = 0; k < width; ++k) next[k] = from[input.of->order[static_cast<size_t>(k)]];
    from = next;
    next = scratch;
  }
  if (!blocks.is_plain()) {
    blocks.spread(from, next);
    from = next;
  }
  const int64_t at = to * blocks.blocks();
  kernels_.quantize(from, blocks.blocks(), blocks.block, input.codes + to * blocks.depth(), input.scales + at,
                    input.sums + at);
}

// Rows first .. first+rows-1 of y, which are the first of the input.
void ArkLinears::multiply(size_t index, int64_t panel, const Input& input, int64_t rows, const sdk::TensorView& y,
                          int64_t first) const {
  alignas(64) float sums[kRowsOfPanel * kPanel];
  alignas(64) uint8_t scratch[kMaxBlock * kPanel];
  const ArkLayer& layer = layers_[index];
  const Blocks& blocks = layer.weight.blocks();
  const int64_t n = panel * kPanel, width = layer.weight.out_features(), count = std::min<int64_t>(kPanel, width - n);
  const float* bias = layer.bias.empty() ? nullptr : layer.bias.data() + n;
  for (int64_t row = 0; row < rows; row += kRowsOfPanel) {
    const int64_t some = std::min(kRowsOfPanel, rows - row);
    const Activations x{input.codes + row * blocks.depth(), input.scales + row * blocks.blocks(),
                        input.sums + row * blocks.blocks()};
    kernels_.multiply(layer.weight.view(), panel, x, some, sums, scratch);
    for (int64_t m = 0; m < some; ++m)
      write_row(sums + m * kPanel, count, layer.weight.factor(), bias, type_, y.host, (first + row + m) * width + n);
  }
}

void ArkLinears::run(const sdk::TensorView& x, std::span<const sdk::TensorView> y, ArkitStream*) {
  if (y.size() != layers_.size()) throw sdk::BackendError(ARKIT_MISUSED, "there is not one output a layer");
  const int64_t width = layers_.front().weight.blocks().in_features;
  const auto rows = static_cast<int64_t>(x.count()) / width, at_once = std::min(rows, kRowsAtOnce);

  thread_local Arena arena;
  std::vector<Input> inputs;
  const auto lay_out = [&] {
    arena.used = 0;
    inputs.clear();
    for (const size_t first : inputs_) {
      const Blocks& blocks = layers_[first].weight.blocks();
      inputs.push_back({&layers_[first], arena.take<int8_t>(at_once * blocks.depth()),
                        arena.take<float>(at_once * blocks.blocks()), arena.take<int32_t>(at_once * blocks.blocks())});
    }
  };
  lay_out();
  int64_t deepest = width;
  for (const size_t first : inputs_) deepest = std::max(deepest, layers_[first].weight.blocks().depth());
  const bool many = rows * width * panels_to_.back() * kPanel >= kWorthThreads;
  const int threads = many ? threads_ : 1;
  const size_t scratch_at = arena.used;
  if (const size_t all = scratch_at + static_cast<size_t>(threads) * static_cast<size_t>(deepest) * 2 * sizeof(float);
      arena.memory.size() < all + 64) {
    arena.memory.resize(all + 64);
    lay_out();
  }
  auto* const scratch = reinterpret_cast<float*>(arena.memory.data() + scratch_at);

  for (int64_t first = 0; first < rows; first += at_once) {
    const int64_t some = std::min(at_once, rows - first), all = panels_to_.back();
    const int64_t quantized = some * static_cast<int64_t>(inputs.size());
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
      const int64_t me = omp_get_thread_num(), of = omp_get_num_threads();
      for (int64_t i = quantized * me / of; i < quantized * (me + 1) / of; ++i)
        quantize(x, first + i % some, inputs[static_cast<size_t>(i / some)], i % some, scratch + me * 2 * deepest);
#pragma omp barrier
      size_t layer = 0;
      for (int64_t panel = all * me / of; panel < all * (me + 1) / of; ++panel) {
        while (panel >= panels_to_[layer]) ++layer;
        const int64_t within = panel - (layer == 0 ? 0 : panels_to_[layer - 1]);
        multiply(layer, within, inputs[input_of_[layer]], some, y[layer], first);
      }
    }
  }
}

void ArkLinears::save(const sdk::BlobSink& sink) const {
  BlobHead head{};
  std::copy(std::begin(kMagic), std::end(kMagic), head.magic);
  head.layers = layers_.size();
  sink.write(std::as_bytes(std::span(&head, 1)));
  for (const ArkLayer& layer : layers_) {
    const std::span<const std::byte> parts[] = {layer.weight.bytes(), std::as_bytes(std::span(layer.bias)),
                                                std::as_bytes(std::span(layer.order))};
    const uint64_t sizes[] = {parts[0].size(), parts[1].size(), parts[2].size()};
    sink.write(std::as_bytes(std::span(sizes)));
    for (const std::span<const std::byte> part : parts) sink.write(part);
  }
}

std::vector<ArkLayer> ArkLinears::read(std::span<const std::byte> blob) {
  BlobHead head{};
  std::memcpy(&head, taken(blob, sizeof(head)).data(), sizeof(head));
  if (!std::equal(std::begin(kMagic), std::end(kMagic), head.magic) || head.layers > kMostLayers) bad_blob();
  std::vector<ArkLayer> layers;
  for (uint64_t i = 0; i < head.layers; ++i) {
    uint64_t sizes[3];
    std::memcpy(sizes, taken(blob, sizeof(sizes)).data(), sizeof(sizes));
    ArkLayer layer{PackedWeight(taken(blob, sizes[0])), values_of<float>(taken(blob, sizes[1])),
                   values_of<int32_t>(taken(blob, sizes[2]))};
    const auto out = static_cast<size_t>(layer.weight.out_features());
    const auto in = static_cast<size_t>(layer.weight.blocks().in_features);
    if ((!layer.bias.empty() && layer.bias.size() != out) || (!layer.order.empty() && layer.order.size() != in)) bad_blob();
    for (const int32_t column : layer.order)
      if (column < 0 || static_cast<size_t>(column) >= in) bad_blob();
    layers.push_back(std::move(layer));
  }
  if (!blob.empty()) bad_blob();
  return layers;
}

}  // namespace arkit::ark
