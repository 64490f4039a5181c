#include "block_tuner.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <arkit/error.h>

namespace arkit::gguf_k {
namespace {

// x = scale * (code - zero) - minimum
class BlockTuner final : public WeightTuner {
 public:
  BlockTuner(const at::Tensor& weight, BlockType type, const at::Tensor& importance, Search search)
      : weight_(weight), shape_(shape_of(type)), found_(quantize(weight, type, importance, search)) {
    GroupValues values = group_values(found_, type);
    scale_ = values.scale.contiguous();
    if (shape_.minima) minimum_ = values.minimum.contiguous();
    inverse_ = at::where(scale_ == 0, at::zeros_like(scale_), scale_.reciprocal());
    offset_.push_back({.name = "v", .value = at::zeros(weight.sizes(), at::kFloat), .gradient = {}});
  }

  std::span<Trainable> trainables() override { return offset_; }

  void fake_quant(at::Tensor& out) override {
    over_groups([&](int64_t group, int64_t first, const float* x, const float* v) {
      const Group g = group_at(group);
      float* to = scratch(first);
      for (int64_t i = 0; i < shape_.group; ++i) to[i] = g.scale * (level(g, x[i], v[i]) - g.zero) - g.minimum;
    });
    out.copy_(values_);
  }

  // Straight through the rounding: d out / d v = scale where the level is inside its range.
  void backward(const at::Tensor& grad_out) override {
    at::Tensor& gradient = offset_.front().gradient;
    if (!gradient.defined()) gradient = at::zeros(weight_.sizes(), at::kFloat);
    const at::Tensor upper = grad_out.to(at::kFloat).contiguous();
    const auto* above = upper.const_data_ptr<float>();
    auto* sum = gradient.mutable_data_ptr<float>();
    over_groups([&](int64_t group, int64_t first, const float* x, const float* v) {
      const Group g = group_at(group);
      for (int64_t i = 0; i < shape_.group; ++i) {
        const float at = (x[i] + g.minimum) * g.inverse + v[i];
        const float rounded = std::nearbyint(at) + g.zero;
        if (rounded >= 0 && rounded <= g.most) sum[first + i] += above[first + i] * g.scale;
      }
    });
  }

  QuantizedWeight finish() override {
    QuantizedWeight out = found_;
    out.codes = at::empty_like(found_.codes);
    auto* codes = out.codes.mutable_data_ptr<uint8_t>();
    over_groups([&](int64_t group, int64_t first, const float* x, const float* v) {
      const Group g = group_at(group);
      for (int64_t i = 0; i < shape_.group; ++i) codes[first + i] = static_cast<uint8_t>(level(g, x[i], v[i]));
    });
    return out;
  }

 private:
  struct Group {
    float scale, inverse, minimum, zero, most;
  };

  [[nodiscard]] Group group_at(int64_t group) const {
    return {.scale = scale_.const_data_ptr<float>()[group],
            .inverse = inverse_.const_data_ptr<float>()[group],
            .minimum = shape_.minima ? minimum_.const_data_ptr<float>()[group] : 0,
            .zero = shape_.minima ? 0 : static_cast<float>(1 << (shape_.bits - 1)),
            .most = static_cast<float>((1 << shape_.bits) - 1)};
  }

  static float level(const Group& g, float x, float v) {
    return std::clamp(std::nearbyint((x + g.minimum) * g.inverse + v) + g.zero, 0.0F, g.most);
  }

  float* scratch(int64_t first) { return values_.mutable_data_ptr<float>() + first; }

  // use(group, index of its first weight, its weights, its offsets)
  template <typename Use>
  void over_groups(const Use& use) {
    if (!values_.defined()) values_ = at::empty(weight_.sizes(), at::kFloat);
    const at::Tensor numbers = weight_.to(at::kFloat).contiguous();
    const auto* x = numbers.const_data_ptr<float>();
    const auto* v = offset_.front().value.const_data_ptr<float>();
    at::parallel_for(0, scale_.numel(), std::max<int64_t>(1, kGrain / shape_.group), [&](int64_t begin, int64_t end) {
      for (int64_t group = begin; group < end; ++group) {
        const int64_t first = group * shape_.group;
        use(group, first, x + first, v + first);
      }
    });
  }

  at::Tensor weight_;
  BlockShape shape_;
  QuantizedWeight found_;                 // by the search; its scales stay
  at::Tensor scale_, inverse_, minimum_;  // f32 [out, groups]
  at::Tensor values_;                     // f32 [out, in], of the last fake_quant
  std::vector<Trainable> offset_;
};

// Levels of a table have no offsets: what the search found stays.
class TableTuner final : public WeightTuner {
 public:
  TableTuner(const at::Tensor& weight, BlockType type, const at::Tensor& importance, Search search)
      : found_(quantize(weight, type, importance, search)), values_(dequantize(found_, type, at::kFloat)) {}

  std::span<Trainable> trainables() override { return {}; }
  void fake_quant(at::Tensor& out) override { out.copy_(values_); }
  void backward(const at::Tensor&) override {}
  QuantizedWeight finish() override { return found_; }

 private:
  QuantizedWeight found_;
  at::Tensor values_;
};

}  // namespace

std::unique_ptr<WeightTuner> make_tuner(const at::Tensor& weight, BlockType type, const at::Tensor& importance,
                                        Search search) {
  if (!sdk::levels_of(type).empty()) return std::make_unique<TableTuner>(weight, type, importance, search);
  return std::make_unique<BlockTuner>(weight, type, importance, search);
}

}  // namespace arkit::gguf_k
