#include "layer_group.h"

#include <algorithm>
#include <utility>

#include <arkit/sdk/float16.h>

namespace arkit::ark {
namespace {

constexpr int64_t kRowsOfPanel = 96;  // whose sums stay in the first cache

}  // namespace

LayerGroup::LayerGroup(const Kernels& kernels, std::vector<ArkLayer> layers, int32_t levels, bool exact)
    : kernels_(kernels), levels_(levels), exact_(exact), layers_(std::move(layers)) {
  for (size_t i = 0; i < layers_.size(); ++i) {
    const ArkLayer& layer = layers_[i];
    const auto alike = [&](size_t other) {
      return layers_[other].weight.blocks() == layer.weight.blocks() && layers_[other].order == layer.order &&
             in_floats(layers_[other]) == in_floats(layer) && layers_[other].rounding == layer.rounding;
    };
    const auto found = std::find_if(inputs_.begin(), inputs_.end(), alike);
    input_of_.push_back(static_cast<size_t>(found - inputs_.begin()));
    if (found == inputs_.end()) inputs_.push_back(i);
    panels_to_.push_back(layer.weight.panels() + (i == 0 ? 0 : panels_to_.back()));
    deepest_ = std::max({deepest_, layer.weight.blocks().depth(), layer.weight.blocks().in_features});
  }
}

size_t LayerGroup::bytes() const noexcept {
  size_t all = 0;
  for (const ArkLayer& layer : layers_) all += layer.bytes();
  return all;
}

size_t LayerGroup::input_bytes(int64_t rows) const {
  size_t all = 0;
  for (const size_t layer : inputs_) {
    const Blocks& blocks = layers_[layer].weight.blocks();
    if (in_floats(layers_[layer]))
      all += Arena::bytes<float>(rows * blocks.depth()) + Arena::bytes<float>(rows * blocks.blocks());
    else
      all += Arena::bytes<int8_t>(rows * blocks.depth()) + Arena::bytes<float>(rows * blocks.blocks()) +
             Arena::bytes<int32_t>(rows * blocks.blocks());
  }
  return all;
}

std::vector<LayerGroup::Input> LayerGroup::take_inputs(Arena& arena, int64_t rows) const {
  std::vector<Input> inputs;
  for (const size_t layer : inputs_) {
    const Blocks& blocks = layers_[layer].weight.blocks();
    Input& input = inputs.emplace_back();
    if (in_floats(layers_[layer])) {
      input.floats = arena.take<float>(rows * blocks.depth());
      input.float_sums = arena.take<float>(rows * blocks.blocks());
    } else {
      input.codes = arena.take<int8_t>(rows * blocks.depth());
      input.scales = arena.take<float>(rows * blocks.blocks());
      input.sums = arena.take<int32_t>(rows * blocks.blocks());
    }
  }
  return inputs;
}

void LayerGroup::quantize(const float* x, std::span<const Input> inputs, int64_t to, float* scratch) const {
  for (size_t i = 0; i < inputs.size(); ++i) {
    const ArkLayer& layer = layers_[inputs_[i]];
    const Blocks& blocks = layer.weight.blocks();
    const float* from = x;
    float *next = scratch, *other = scratch + deepest_;
    const auto made = [&] { from = std::exchange(next, other), other = const_cast<float*>(from); };
    if (layer.rounding.kind != Rounding::none) {
      round_row(layer.rounding, from, blocks.in_features, next);
      made();
    }
    if (!layer.order.empty()) {
      for (int64_t k = 0; k < blocks.in_features; ++k) next[k] = from[layer.order[static_cast<size_t>(k)]];
      made();
    }
    const Input& input = inputs[i];
    const int64_t at = to * blocks.blocks();
    if (input.floats != nullptr) {
      float* row = input.floats + to * blocks.depth();
      blocks.spread(from, row);
      for (int64_t b = 0; b < blocks.blocks(); ++b) {
        float sum = 0;
        for (int32_t k = 0; k < blocks.block; ++k) sum += row[b * blocks.block + k];
        input.float_sums[at + b] = sum;
      }
      continue;
    }
    if (!blocks.is_plain()) {
      blocks.spread(from, next);
      from = next;
    }
    kernels_.quantize(from, blocks.blocks(), blocks.block, levels_, input.codes + to * blocks.depth(),
                      input.scales + at, input.sums + at);
  }
}

void LayerGroup::multiply_panel(size_t index, int64_t panel, const Input& input, int64_t rows,
                                const Output& output) const {
  alignas(64) float sums[kRowsOfPanel * kPanel];
  alignas(64) union {
    uint8_t bytes[kMaxBlock * kPanel];
    float floats[kMaxBlock * kPanel];
  } scratch;
  const ArkLayer& layer = layers_[index];
  const Blocks& blocks = layer.weight.blocks();
  const int64_t n = panel * kPanel, count = std::min<int64_t>(kPanel, layer.weight.out_features() - n);
  const float* bias = layer.bias.empty() ? nullptr : layer.bias.data() + n;
  const Finish how{bias, layer.weight.factor(), output.scale, output.add};
  for (int64_t row = 0; row < rows; row += kRowsOfPanel) {
    const int64_t some = std::min(kRowsOfPanel, rows - row);
    if (input.floats != nullptr)
      kernels_.multiply_floats(layer.weight.view(), panel,
                               {input.floats + row * blocks.depth(), input.float_sums + row * blocks.blocks()}, some,
                               sums, scratch.floats);
    else
      kernels_.multiply(layer.weight.view(), panel,
                        {input.codes + row * blocks.depth(), input.scales + row * blocks.blocks(),
                         input.sums + row * blocks.blocks()},
                        some, sums, scratch.bytes);
    for (int64_t m = 0; m < some; ++m) {
      const float* own = sums + m * kPanel;
      const int64_t at = (row + m) * output.stride + n;
      if (output.bfloat16 == nullptr) {
        kernels_.finish(own, count, how, output.floats + at);
        continue;
      }
      alignas(64) float values[kPanel];
      kernels_.finish(own, count, how, values);
      for (int64_t i = 0; i < count; ++i) output.bfloat16[at + i] = sdk::float_to_bfloat16(values[i]);
    }
  }
}

void LayerGroup::multiply(int64_t begin, int64_t end, std::span<const Input> inputs, int64_t rows,
                          std::span<const Output> outputs) const {
  size_t layer = 0;
  for (int64_t panel = begin; panel < end; ++panel) {
    while (panel >= panels_to_[layer]) ++layer;
    const int64_t within = panel - (layer == 0 ? 0 : panels_to_[layer - 1]);
    multiply_panel(layer, within, inputs[input_of_[layer]], rows, outputs[layer]);
  }
}

}  // namespace arkit::ark
