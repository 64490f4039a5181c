#pragma once
// A block small enough to think about, for tests of transforms: a gain, two layers that read it and one that reads
// their product, y = down(relu(gate(g x)) * up(g x)), rounded to 4 bits a row. A few channels of x are outliers.

#include <algorithm>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <arkit/error.h>
#include <arkit/sdk/block_hooks.h>
#include <arkit/sdk/channel_scales.h>
#include <arkit/transform.h>

namespace arkit::conformance {

class ToyScene final : public BlockScene {
 public:
  explicit ToyScene(int64_t width = 32, int64_t inner = 48, bool bias = false) {
    at::manual_seed(7);
    x_ = at::randn({4, 16, width});
    x_.slice(2, 0, width, 11).mul_(30.0);
    quant_.weight = {.data_type = "int", .bits = 4, .group_size = -1};
    const auto layer = [&](const char* name, int64_t out, int64_t in) {
      Linear linear{.name = name, .out_features = out, .in_features = in};
      linear.weight = at::randn({out, in}) / 8.0;
      if (bias) linear.bias = at::randn({out});
      layers.push_back(std::move(linear));
    };
    layer("gate", inner, width);
    layer("up", inner, width);
    layer("down", width, inner);
  }

  [[nodiscard]] static std::vector<ScalePlace> places(int64_t width = 32, int64_t inner = 48) {
    return {
        {.block = 0, .from = "norm", .from_norm = true, .into = {"gate", "up"}, .measured = "down", .channels = width},
        {.block = 0, .from = "up", .into = {"down"}, .measured = "down", .channels = inner}};
  }

  [[nodiscard]] const Linear& layer(std::string_view name) const override {
    const auto found = std::find_if(layers.begin(), layers.end(), [&](const Linear& l) { return l.name == name; });
    ARKIT_CHECK(found != layers.end(), "a transform asked for a layer that is not in the block");
    return *found;
  }
  [[nodiscard]] const LayerQuant& quant(std::string_view) const override { return quant_; }
  [[nodiscard]] int64_t num_samples() const override { return x_.size(0); }
  void run(std::span<const int64_t> samples, BlockHook& hook) const override {
    for (const int64_t sample : samples) (void)forward(x_.narrow(0, sample, 1), hook);
  }
  [[nodiscard]] std::vector<at::Tensor> rounded(std::span<const std::string>,
                                                std::span<const at::Tensor> weights) const override {
    std::vector<at::Tensor> out;
    for (const at::Tensor& weight : weights) {
      const at::Tensor step = weight.abs().amax(-1, true).div(7.0).clamp_min(1e-9);
      out.push_back(weight.div(step).round().mul(step));
    }
    return out;
  }
  [[nodiscard]] at::Tensor rounded_input(std::string_view, const at::Tensor& x) const override { return x; }
  [[nodiscard]] at::Tensor product(const at::Tensor& x, const at::Tensor& weight,
                                   const at::Tensor& bias) const override {
    return at::linear(x, weight, bias.defined() ? c10::optional<at::Tensor>(bias) : c10::nullopt);
  }

  [[nodiscard]] at::Tensor forward(const at::Tensor& x, BlockHook& hook) const {
    const c10::NoGradGuard no_grad;
    const at::Tensor read = x * gain;
    const at::Tensor gated = hook.linear(layers[0], read).relu() * hook.linear(layers[1], read);
    return hook.linear(layers[2], gated);
  }

  // The output with rounded weights, and how far it is from the original's.
  [[nodiscard]] double rounding_loss() const {
    class Rounded final : public sdk::PlainHook {
     public:
      explicit Rounded(const ToyScene& scene) : scene_(scene) {}
      at::Tensor linear(const Linear& layer, const at::Tensor& x) override {
        const std::vector<std::string> name{layer.name};
        const std::vector<at::Tensor> weight{layer.weight};
        return scene_.product(x, scene_.rounded(name, weight).front(), layer.bias);
      }

     private:
      const ToyScene& scene_;
    } rounded(*this);
    sdk::PlainHook plain;
    return (forward(x_, rounded) - forward(x_, plain)).square().sum().item<double>();
  }

  // Puts scales of one of places() into the block.
  void fold(const ScalePlace& place, const at::Tensor& scales) {
    if (place.from_norm) {
      gain = gain.mul(at::ones_like(scales)).div(scales);
    } else {
      Linear& from = *std::find_if(layers.begin(), layers.end(), [&](const Linear& l) { return l.name == place.from; });
      from.weight = from.weight.div(scales.unsqueeze(1));
      if (from.bias.defined()) from.bias = from.bias.div(scales);
    }
    for (Linear& layer : layers)
      if (std::find(place.into.begin(), place.into.end(), layer.name) != place.into.end())
        layer.weight = layer.weight.mul(sdk::column_scales(place, scales));
  }

  [[nodiscard]] const at::Tensor& x() const { return x_; }

  std::vector<Linear> layers;
  at::Tensor gain = at::ones({1});

 private:
  at::Tensor x_;
  LayerQuant quant_;
};

}  // namespace arkit::conformance
