#include "tuning/block_folds.h"

#include <algorithm>
#include <utility>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <arkit/error.h>
#include <arkit/fixed_order.h>
#include <arkit/log.h>
#include <arkit/str.h>

#include "rounding/global_scales.h"
#include "transform/channel_fold.h"
#include "tuning/collect.h"
#include "tuning/gemm.h"
#include "util/deterministic_scope.h"
#include "util/naming_layer.h"

namespace arkit {

at::Tensor FoldedNorms::norm_weight(std::string_view name, const at::Tensor& weight) {
  const auto found = block_.norms.find(name);
  return inner_.norm_weight(name, found == block_.norms.end() ? weight : found->second.to(weight.scalar_type()));
}

class BlockFolds::Scene final : public BlockScene {
 public:
  Scene(const BlockFolds& folds, std::span<Linear* const> linears, const BlockForward& forward, const at::Tensor& input)
      : folds_(folds), forward_(forward), input_(input) {
    for (Linear* linear : linears) linears_.emplace(linear->name, linear);
  }

  const Linear& layer(std::string_view name) const override { return linear(name); }
  Linear& linear(std::string_view name) const {
    const auto found = linears_.find(name);
    ARKIT_CHECK(found != linears_.end(), str("layer '", name, "' is not in this block"));
    return *found->second;
  }
  const LayerQuant& quant(std::string_view layer) const override { return plan(layer).quant; }
  int64_t num_samples() const override { return input_.size(0); }

  void run(std::span<const int64_t> samples, BlockHook& hook) const override {
    const c10::NoGradGuard no_grad;
    for (size_t first = 0; first < samples.size(); first += static_cast<size_t>(folds_.batch_size_)) {
      throw_if_interrupted();
      const auto part =
          samples.subspan(first, std::min(samples.size() - first, static_cast<size_t>(folds_.batch_size_)));
      const at::Tensor index = at::tensor(at::IntArrayRef(part.data(), part.size()), at::kLong);
      (void)forward_(input_.index_select(0, index), part, hook);
    }
  }

  std::vector<at::Tensor> rounded(std::span<const std::string> layers,
                                  std::span<const at::Tensor> weights) const override {
    ARKIT_CHECK(layers.size() == weights.size(), "every layer needs a weight");
    const c10::NoGradGuard no_grad;
    std::vector<GlobalScaleMember> members;
    for (size_t i = 0; i < layers.size(); ++i) {
      const LayerPlan& layer = plan(layers[i]);
      const bool quantized = layer.quant.weight.quantized();
      members.push_back(
          {&layer, quantized ? &folds_.scheme_for_(layer.quant.weight.data_type) : nullptr, weights[i], {}});
    }
    share_global_scales(members, /*measured=*/true);
    std::vector<at::Tensor> out;
    for (const auto& [layer, scheme, weight, scale] : members) {
      out.push_back(weight);
      if (scheme == nullptr) continue;
      const TensorQuant& quant = layer->quant.weight;
      out.back() = plugins::naming_layer(layer->name, [&, s = scheme, w = weight, global = scale] {
        return s->dequantize(s->quantize_rtn(w, quant, RtnMode::plain, {}, 0, global), quant, w.scalar_type());
      });
    }
    return out;
  }

  at::Tensor rounded_input(std::string_view layer, const at::Tensor& x) const override {
    const TensorQuant& act = plan(layer).quant.act;
    if (!act.quantized() || wants_act_max(act)) return x;
    return folds_.scheme_for_(act.data_type).fake_quant_act(x, act, {});
  }

  at::Tensor product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) const override {
    std::vector<int64_t> sizes = x.sizes().vec();
    sizes.back() = weight.size(0);
    return linear_forward(x.reshape({-1, x.size(-1)}).contiguous(), weight.contiguous(), bias).view(sizes);
  }

 private:
  [[nodiscard]] const LayerPlan& plan(std::string_view layer) const {
    const auto found = folds_.plans_.find(layer);
    ARKIT_CHECK(found != folds_.plans_.end(), str("layer '", layer, "' is not in the plan"));
    return *found->second;
  }

  const BlockFolds& folds_;
  const BlockForward& forward_;
  const at::Tensor& input_;
  std::map<std::string_view, Linear*> linears_;
};

BlockFolds::BlockFolds(const std::vector<PlannedTransform>& transforms, const WeightSource& source,
                       const QuantPlan& plan, SchemeFor scheme_for, at::ScalarType norms, int64_t batch_size)
    : source_(source), scheme_for_(std::move(scheme_for)), batch_size_(batch_size) {
  for (const PlannedTransform& planned : transforms) {
    running_.push_back({planned.transform->start(planned.settings), planned.places});
    records_.push_back(
        {.name = planned.name, .settings = planned.settings, .norms = norms, .folds = {}, .notes = planned.notes});
  }
  for (const LayerPlan& layer : plan.layers) plans_.emplace(layer.name, &layer);
}

void BlockFolds::apply(const ScalePlace& place, const at::Tensor& scales, Scene& scene, FoldedBlock& folded) const {
  at::Tensor columns = scales;
  const auto changed = [&](const std::string& layer) {
    if (std::find(folded.layers.begin(), folded.layers.end(), layer) == folded.layers.end())
      folded.layers.push_back(layer);
  };
  if (place.from_norm) {
    const auto before = folded.norms.find(place.from);
    const at::Tensor norm = before != folded.norms.end() ? before->second : source_.load(place.from);
    auto [weight, made_up] = fold_norm(norm, scales, records_.front().norms);
    folded.norms.insert_or_assign(place.from, weight);
    columns = made_up;
  } else {
    Linear& from = scene.linear(place.from);
    from.weight = fold_rows(from.weight, scales);
    changed(place.from);
    if (from.bias.defined()) {
      const auto before = folded.biases.find(place.from);
      const at::Tensor bias = before != folded.biases.end() ? before->second : source_.load(place.from + ".bias");
      const at::Tensor now = fold_rows(bias, scales);
      from.bias = now.to(from.bias.scalar_type());
      folded.biases.insert_or_assign(place.from, now);
    }
  }
  for (const std::string& name : place.into) {
    Linear& into = scene.linear(name);
    into.weight = fold_columns(into.weight, place, columns);
    changed(name);
  }
}

void BlockFolds::fold(int64_t block, std::span<Linear* const> linears, const BlockForward& forward,
                      const at::Tensor& input, FoldedBlock& folded) {
  const DeterministicScope fixed(true);
  const c10::NoGradGuard no_grad;
  Scene scene(*this, linears, forward, input);
  for (size_t i = 0; i < running_.size(); ++i) {
    const auto& [transform, all] = running_[i];
    std::vector<ScalePlace> places;
    for (const ScalePlace& place : all)
      if (place.block == block) places.push_back(place);
    if (places.empty()) continue;
    records_[i].weights = linears.front()->weight.scalar_type();
    transform->begin(places, scene);
    for (const ScalePlace& place : places) {
      throw_if_interrupted();
      ScaleChoice choice = transform->choose(place, scene);
      if (!choice.scales.defined()) continue;
      const at::Tensor scales = recorded_scales(choice.scales);
      apply(place, scales, scene, folded);
      records_[i].folds.push_back({place, scales, std::move(choice.found)});
    }
  }
}

}  // namespace arkit
