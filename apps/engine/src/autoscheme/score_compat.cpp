#include "autoscheme/score_compat.h"

#include <ATen/ATen.h>

#include "autoscheme/score_sums.h"
#include "tuning/gemm.h"

namespace arkit::auto_scheme {
// Rounded weights, and activations where they have 8 bits or fewer; static ranges are those of the batch itself.
class CompatScore::Forward final : public DenseHook {
 public:
  explicit Forward(const CompatScore& score) : score_(score) {}

  at::Tensor linear(const Linear& layer, const at::Tensor& x) override {
    const auto found = score_.rounded_.find(&layer);
    if (found == score_.rounded_.end()) return DenseHook::linear(layer, x);
    const LayerQuant& quant = score_.pool_[found->second.index].quants[score_.option_];
    TensorQuant act = quant.act;
    act.scale_dtype = scale_dtype(quant);
    at::Tensor input = x;
    if (act.bits <= 8)
      input =
          score_.scheme_for_(act.data_type)
              .fake_quant_act(x, act, wants_act_max(act) ? x.abs().max().to(at::kFloat).reshape({1}) : at::Tensor());
    Linear rounded = layer;
    rounded.weight = found->second.weight;
    return DenseHook::linear(rounded, input);
  }

 private:
  const CompatScore& score_;
};

CompatScore::CompatScore(Model& model, std::span<const PoolLayer> pool, size_t option, const SchemeFor& scheme_for,
                         ScoreTable& table)
    : model_(model),
      pool_(pool),
      option_(option),
      scheme_for_(scheme_for),
      table_(table),
      by_name_(index_by_name(pool)),
      forward_(std::make_unique<Forward>(*this)),
      replay_(*this) {}

// The reference's choice while it scores: float16, float32 under super-blocks, bfloat16 beside quantized activations.
std::string CompatScore::scale_dtype(const LayerQuant& quant) {
  if (quant.act.bits <= 8) return "bfloat16";
  return quant.weight.super_bits > 0 ? "float32" : "float16";
}

void CompatScore::round(std::span<Linear* const> linears) {
  rounded_.clear();
  replay_.clear();
  const PoolBlock block(linears, pool_, by_name_);
  const std::vector<size_t> choice(block.layers().size(), option_);
  std::vector<PoolBlock::Rounding> roundings = block.roundings(choice, scheme_for_);
  for (size_t i = 0; i < roundings.size(); ++i) {
    if (!roundings[i].plan.quant.quantized()) continue;
    roundings[i].plan.quant.weight.scale_dtype = scale_dtype(roundings[i].plan.quant);
    const PoolBlock::Layer& layer = block.layers()[i];
    const at::Tensor weight =
        rounded_weight(*layer.linear, roundings[i].plan, scheme_for_, roundings[i].global_scale, {});
    rounded_[layer.linear] = {layer.index, weight};
    replay_.replace(layer.linear, weight);
  }
}

BlockHook& CompatScore::forward_hook(int64_t block) {
  round(model_.block_linears(block));
  return *forward_;
}

ReplayHook& CompatScore::replay_hook(int64_t block) {
  Linear* const head = block == kHead ? &model_.head() : nullptr;
  round(block == kHead ? std::span(&head, 1) : std::span<Linear* const>(model_.block_linears(block)));
  return replay_;
}

void CompatScore::replayed(int64_t /*block*/) {
  rounded_.clear();
  replay_.clear();
}

void CompatScore::see(const Linear& layer, const at::Tensor& x, const at::Tensor& dy, const at::Tensor& /*dx*/) {
  const auto found = rounded_.find(&layer);
  if (found == rounded_.end() || !pool_[found->second.index].quants[option_].weight.quantized()) return;
  at::Tensor gradient = at::empty(layer.weight.sizes(), at::kFloat);
  linear_weight_gradient(dy, x, gradient);
  table_.loss[found->second.index][option_] +=
      absolute_products(gradient, layer.weight.contiguous(), found->second.weight.contiguous());
}

}  // namespace arkit::auto_scheme
