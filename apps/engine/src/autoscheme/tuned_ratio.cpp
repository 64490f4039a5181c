#include "autoscheme/tuned_ratio.h"

#include <algorithm>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <arkit/error.h>
#include <arkit/str.h>

#include "autoscheme/score_pass.h"
#include "autoscheme/score_weights.h"
#include "tuning/gemm.h"
#include "tuning/tune_block.h"
#include "tuning/tuned_linear.h"
#include "util/python_random.h"
#include "util/tensor_cache.h"

namespace arkit::auto_scheme {
namespace {

constexpr int64_t kIters = 20;
constexpr int64_t kTokens = 4096;     // of the samples, at most
constexpr int64_t kLeastTokens = 64;  // that a layer must have seen
constexpr int64_t kPieces = 4;        // one of so many is measured on, the others are tuned on

at::Tensor some_samples(const at::Tensor& input_ids) {
  const int64_t samples = input_ids.size(0), most = std::max<int64_t>(1, kTokens / input_ids.size(1));
  if (samples <= most) return input_ids;
  std::vector<int64_t> taken;
  for (int64_t i = 0; i < most; ++i) taken.push_back(i * samples / most);
  return input_ids.index_select(0, at::tensor(taken, at::kLong));
}

// What a layer is tuned and measured on.
struct Seen {
  at::Tensor tuned_on;  // [pieces, tokens, in], compute dtype
  at::Tensor measured;  // [tokens, in]
  at::Tensor channels;  // f32 [out], weights of output channels with a mean of 1
  InputStatistics statistics;
};

Seen seen_of(const Linear& layer, const at::Tensor& x, const at::Tensor& channels, int64_t seqlen,
             StatisticsWanted wanted) {
  const int64_t tokens = std::min(seqlen, x.size(0) / kPieces), pieces = x.size(0) / tokens;
  const at::Tensor all = x.narrow(0, 0, pieces * tokens).view({pieces, tokens, x.size(1)});
  std::vector<int64_t> tuned_on, measured;
  for (int64_t i = 0; i < pieces; ++i) (i % kPieces == kPieces - 1 ? measured : tuned_on).push_back(i);
  Seen seen{.tuned_on = all.index_select(0, at::tensor(tuned_on, at::kLong)),
            .measured = all.index_select(0, at::tensor(measured, at::kLong)).view({-1, x.size(1)}),
            .channels = {},
            .statistics = {}};
  const double mean = channels.mean().item<double>();
  seen.channels = mean > 0.0 ? channels / mean : at::ones_like(channels);
  if (!wanted.any()) return seen;
  StatisticsHook statistics;
  statistics.watch(&layer, wanted);
  for (int64_t i = 0; i < pieces; ++i) statistics.see(layer, all.narrow(0, i, 1));
  seen.statistics = statistics.of(&layer);
  return seen;
}

// One layer under one option.
class LayerTuner {
 public:
  LayerTuner(const Linear& layer, const PoolBlock::Rounding& rounding, const Seen& seen, const SchemeFor& scheme_for)
      : layer_(layer), rounding_(rounding), seen_(seen), scheme_for_(scheme_for) {
    const LayerQuant& quant = rounding.plan.quant;
    tuned_ = {.linear = &layer,
              .quant = quant,
              .weight_scheme = &scheme_for(quant.weight.data_type),
              .act_scheme = quant.act.quantized() ? &scheme_for(quant.act.data_type) : nullptr,
              .imatrix = seen.statistics.imatrix,
              .global_scale = rounding.global_scale,
              .act_max = seen.statistics.act_max};
  }

  // 1 where rounding has no error.
  [[nodiscard]] double ratio(const RatioSettings& settings) {
    const at::NoGradGuard no_grad;
    const Importance importance{seen_.statistics.imatrix, seen_.statistics.count};
    const at::Tensor rounded = rounded_weight(layer_, rounding_.plan, scheme_for_, rounding_.global_scale, importance);
    const double before = error(rounded, tuned_.act_max);
    if (!(before > 0.0)) return 1.0;
    const LayerTuning best = tune(settings);
    at::Tensor weight = at::empty_like(layer_.weight);
    best.weight->fake_quant(weight);
    return error(weight, best.act_max) / before;
  }

 private:
  [[nodiscard]] LayerTuning tune(const RatioSettings& settings) const {
    const at::AutoGradMode with_grad(true);
    const at::Tensor scale = seen_.channels.sqrt().to(seen_.tuned_on.scalar_type());
    TuneTask task;
    task.forward = [&](const at::Tensor& x, std::span<const int64_t>, BlockHook& hook) {
      return hook.linear(layer_, x) * scale;
    };
    task.inputs = seen_.tuned_on;
    DenseHook dense;
    {
      const at::NoGradGuard no_grad;
      task.targets = dense.linear(layer_, task.inputs) * scale;
    }
    task.layers = {tuned_};
    PythonRandom random(settings.seed);
    return std::move(tune_block(task, settings.tune, random).layers.front());
  }

  // Sum over tokens and output channels of channels * (y - yq)^2, products in f32.
  [[nodiscard]] double error(const at::Tensor& weight, const at::Tensor& act_max) const {
    const at::Tensor& x = seen_.measured;
    const at::Tensor xq =
        tuned_.act_scheme == nullptr ? x : tuned_.act_scheme->fake_quant_act(x, tuned_.quant.act, act_max);
    const auto product = [](const at::Tensor& a, const at::Tensor& w) {
      return linear_forward(a.to(at::kFloat).contiguous(), w.to(at::kFloat).contiguous(), {});
    };
    at::Tensor difference = product(x, layer_.weight);
    difference -= product(xq, weight);
    return difference.square_().sum(0).to(at::kDouble).mul_(seen_.channels).sum().item<double>();
  }

  const Linear& layer_;
  const PoolBlock::Rounding& rounding_;
  const Seen& seen_;
  const SchemeFor& scheme_for_;
  TuneLayer tuned_;
};

// Keeps the inputs of the wanted layers of the block at hand, and how much their output channels matter; tunes them
// when all batches are through.
class RatioWork final : public PassWork, private GradientObserver {
 public:
  RatioWork(Model& model, std::span<const PoolLayer> pool, std::span<const LayerOption> wanted, int64_t seqlen,
            const RatioSettings& settings, const SchemeFor& scheme_for, TunedRatios& ratios)
      : model_(model),
        pool_(pool),
        seqlen_(seqlen),
        settings_(settings),
        scheme_for_(scheme_for),
        ratios_(ratios),
        by_name_(index_by_name(pool)),
        replay_(*this) {
    for (const LayerOption& entry : wanted) {
      wanted_[entry.layer].push_back(entry.option);
      ratios_[entry] = std::nullopt;
    }
  }

  BlockHook& forward_hook(int64_t /*block*/) override { return plain_; }

  ReplayHook& replay_hook(int64_t block) override {
    if (block == kHead) return replay_;
    block_ = std::make_unique<PoolBlock>(model_.block_linears(block), pool_, by_name_);
    for (const PoolBlock::Layer& layer : block_->layers())
      if (wanted_.contains(layer.index))
        kept_[layer.linear].channels = at::zeros({layer.linear->weight.size(0)}, at::kFloat);
    return replay_;
  }

  void replayed(int64_t block) override {
    if (block == kHead) return;
    const at::NoGradGuard no_grad;
    last_x_ = last_copy_ = at::Tensor();
    for (size_t i = 0; i < block_->layers().size(); ++i)
      if (kept_.contains(block_->layers()[i].linear)) tune(i);
    kept_.clear();
    roundings_.clear();
    block_.reset();
  }

 private:
  struct Kept {
    std::vector<at::Tensor> inputs;
    at::Tensor channels;  // f32 [out], sums of F over the input channels
  };

  void see(const Linear& layer, const at::Tensor& x, const at::Tensor& dy, const at::Tensor& /*dx*/) override {
    const auto found = kept_.find(&layer);
    if (found == kept_.end() || x.numel() == 0) return;
    const bool known =
        last_x_.defined() && last_x_.const_data_ptr() == x.const_data_ptr() && last_x_.sizes() == x.sizes();
    if (!known) {  // q, k and v have one input
      last_x_ = x;
      last_copy_ = x.clone(at::MemoryFormat::Contiguous);
    }
    found->second.inputs.push_back(last_copy_);
    const bool whole = layer.kind != LayerKind::expert && x.size(0) % seqlen_ == 0;
    const int64_t step = whole ? seqlen_ : x.size(0);
    at::Tensor gradient = at::empty(layer.weight.sizes(), at::kFloat);
    for (int64_t row = 0; row < x.size(0); row += step) {
      linear_weight_gradient(dy.narrow(0, row, step), x.narrow(0, row, step), gradient);
      found->second.channels += gradient.square_().sum(1);
    }
  }

  void tune(size_t place) {
    const PoolBlock::Layer& layer = block_->layers()[place];
    Kept kept = std::exchange(kept_[layer.linear], {});
    if (kept.inputs.empty()) return;
    const at::Tensor x = at::cat(std::exchange(kept.inputs, {}));
    if (x.size(0) < kLeastTokens) return;
    StatisticsWanted statistics;
    for (const size_t option : wanted_[layer.index]) {
      const LayerQuant& quant = pool_[layer.index].quants[option];
      statistics.imatrix = statistics.imatrix || quant.weight.super_bits > 0 || settings_.tune.enable_alg_ext;
      statistics.act_max = statistics.act_max || wants_act_max(quant.act);
    }
    const Seen seen = seen_of(*layer.linear, x, kept.channels, seqlen_, statistics);
    for (const size_t option : wanted_[layer.index]) {
      throw_if_interrupted();
      ratios_[{layer.index, option}] =
          LayerTuner(*layer.linear, rounding(place, option), seen, scheme_for_).ratio(settings_);
    }
  }

  // As the score rounds it: global scales are those of a block that has the option throughout.
  const PoolBlock::Rounding& rounding(size_t place, size_t option) {
    std::vector<PoolBlock::Rounding>& all = roundings_[option];
    if (all.empty()) all = block_->roundings(std::vector<size_t>(block_->layers().size(), option), scheme_for_);
    return all[place];
  }

  Model& model_;
  std::span<const PoolLayer> pool_;
  int64_t seqlen_;
  const RatioSettings& settings_;
  const SchemeFor& scheme_for_;
  TunedRatios& ratios_;
  std::unordered_map<std::string_view, size_t> by_name_;
  std::unordered_map<size_t, std::vector<size_t>> wanted_;  // options by layer of the pool

  DenseHook plain_;
  ReplayHook replay_;
  std::unique_ptr<PoolBlock> block_;  // at hand in the backward
  std::unordered_map<const Linear*, Kept> kept_;
  std::unordered_map<size_t, std::vector<PoolBlock::Rounding>> roundings_;  // of the block, by option
  at::Tensor last_x_, last_copy_;
};

}  // namespace

RatioSettings RatioSettings::of_run(const TuneOptions& run, uint64_t seed) {
  RatioSettings settings{.tune = run, .seed = seed};
  settings.tune.iters = std::min(run.iters, kIters);
  settings.tune.lr = settings.tune.minmax_lr = std::nullopt;
  settings.tune.batch_size = kTokens;  // all pieces: losses of different batches would hide which iteration is best
  settings.tune.gradient_accumulate_steps = 1;
  settings.tune.dynamic_max_gap = -1;
  settings.tune.enable_norm_bias_tuning = false;
  return settings;
}

TunedRatios tuned_ratios(Model& model, const at::Tensor& input_ids, std::span<const PoolLayer> pool,
                         std::span<const LayerOption> wanted, const RatioSettings& settings,
                         const SchemeFor& scheme_for, Reporter& reporter) {
  const TensorCacheScope reuse;
  const at::Tensor ids = some_samples(input_ids);
  TunedRatios ratios;
  RatioWork work(model, pool, wanted, ids.size(1), settings, scheme_for, ratios);
  ScorePass pass(model, ids,
                 {.labels = Labels::sampled,
                  .batch_size = std::max<int64_t>(1, kBatchTokens / ids.size(1)),
                  .kept_dtype = at::kBFloat16,
                  .seed = settings.seed},
                 reporter);
  pass.run(work, "tuning close options");
  return ratios;
}

}  // namespace arkit::auto_scheme
