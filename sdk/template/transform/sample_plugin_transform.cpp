// Scales from the largest activation and the largest weight of a channel (README.md).
#include <algorithm>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/plugin.h>
#include <arkit/sdk/block_hooks.h>
#include <arkit/str.h>
#include <arkit/transform.h>

namespace {

constexpr const char* kSummary = "channels scaled by their largest activation";
constexpr double kDefaultStrength = 0.5, kSmallest = 1e-4;

// The largest |x| of every input of the layers it is told to watch.
class Largest final : public arkit::sdk::PlainHook {
 public:
  explicit Largest(std::span<const arkit::ScalePlace> places) {
    for (const arkit::ScalePlace& place : places) found.emplace(place.into.front(), at::Tensor());
  }
  at::Tensor linear(const arkit::Linear& layer, const at::Tensor& x) override {
    if (const auto at = found.find(layer.name); at != found.end()) {
      const at::Tensor largest = x.reshape({-1, x.size(-1)}).abs().amax(0).to(at::kFloat);
      at->second = at->second.defined() ? at::maximum(at->second, largest) : largest;
    }
    return PlainHook::linear(layer, x);
  }
  std::map<std::string, at::Tensor> found;
};

// Several columns read one channel where heads share it: the largest counts.
at::Tensor by_channel(const at::Tensor& columns, const arkit::ScalePlace& place) {
  return columns.view({place.heads, place.repeats, place.channels / place.heads}).amax(1).reshape({-1});
}

class Smoothing final : public arkit::BlockTransform {
 public:
  explicit Smoothing(double strength) : strength_(strength) {}

  void begin(std::span<const arkit::ScalePlace> places, const arkit::BlockScene& scene) override {
    std::vector<int64_t> samples(static_cast<size_t>(scene.num_samples()));
    std::iota(samples.begin(), samples.end(), 0);
    Largest largest(places);
    scene.run(samples, largest);
    activations_ = std::move(largest.found);
  }

  arkit::ScaleChoice choose(const arkit::ScalePlace& place, const arkit::BlockScene& scene) override {
    at::Tensor weights;
    for (const std::string& layer : place.into) {
      const at::Tensor largest = scene.layer(layer).weight.abs().amax(0).to(at::kFloat);
      weights = weights.defined() ? at::maximum(weights, largest) : largest;
    }
    const at::Tensor a = by_channel(activations_.at(place.into.front()), place).clamp_min(kSmallest);
    const at::Tensor w = by_channel(weights, place).clamp_min(kSmallest);
    at::Tensor scales = a.pow(strength_).div(w.pow(1.0 - strength_));
    scales = scales.div(scales.max().mul(scales.min()).sqrt());
    return {scales, {{"strength", strength_}}};
  }

 private:
  const double strength_;
  std::map<std::string, at::Tensor> activations_;
};

class SamplePluginTransform final : public arkit::Transform {
 public:
  const arkit::TransformInfo& info() const noexcept override {
    static constexpr arkit::TransformInfo kInfo{"sample_plugin", kSummary};
    return kInfo;
  }

  arkit::json::Object settings(const arkit::json::Object& given) const override {
    double strength = kDefaultStrength;
    for (const auto& member : given) {
      const std::string name(member.key());
      if (name != "strength")
        arkit::throw_usage(arkit::unknown_name("sample_plugin setting", name, std::vector<std::string>{"strength"},
                                               "expected strength"));
      if (!member.value().is_number()) arkit::throw_usage("sample_plugin: 'strength' is no number");
      strength = member.value().to_number<double>();
      if (!(strength >= 0.0 && strength <= 1.0))
        arkit::throw_usage(arkit::str("sample_plugin: 'strength' is ", strength, ", expected 0 to 1"));
    }
    return {{"strength", strength}};
  }

  arkit::Verdict wants(const arkit::ScalePlace& place, const arkit::QuantPlan& plan) const override {
    const bool rounded = std::any_of(place.into.begin(), place.into.end(), [&](const std::string& layer) {
      return plan.find(layer) != nullptr && plan.find(layer)->quantized();
    });
    return rounded ? arkit::Verdict::yes() : arkit::Verdict::no("nothing that reads it is quantized");
  }

  std::unique_ptr<arkit::BlockTransform> start(const arkit::json::Object& settings) const override {
    return std::make_unique<Smoothing>(settings.at("strength").to_number<double>());
  }
};

}  // namespace

ARKIT_PLUGIN("org.example.sample_plugin", "0.1.0", "Example", "Apache-2.0", "https://example.org",
             arkit::component<arkit::Transform, SamplePluginTransform>("sample_plugin", kSummary));
