#include "autoscheme/score_fisher.h"

#include <algorithm>
#include <utility>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <arkit/error.h>
#include <arkit/str.h>

#include "autoscheme/score_sums.h"
#include "tuning/gemm.h"

namespace arkit::auto_scheme {
namespace {

// From here on the gradients of every second sample are enough to average over, and save an eighth of the pass.
constexpr int64_t kManySamples = 16;

// Ways of quantizing activations among the options of one layer, at most.
int64_t distinct_activations(std::span<const PoolLayer> pool) {
  size_t most = 0;
  for (const PoolLayer& layer : pool) {
    std::vector<TensorQuant> distinct;
    for (const LayerQuant& quant : layer.quants)
      if (quant.act.quantized() && std::find(distinct.begin(), distinct.end(), quant.act) == distinct.end())
        distinct.push_back(quant.act);
    most = std::max(most, distinct.size());
  }
  return static_cast<int64_t>(most);
}

// Two ways see all rows; more share them, so that the cost does not grow with their number.
int64_t row_stride(int64_t activations) {
  constexpr int64_t kWhole = 2;
  return std::max<int64_t>(1, (activations + kWhole - 1) / kWhole);
}

}  // namespace

FisherScore::FisherScore(Model& model, std::span<const PoolLayer> pool, const at::Tensor& input_ids,
                         const ScoreSettings& settings, const SchemeFor& scheme_for, ScoreTable& table)
    : model_(model),
      pool_(pool),
      tokens_(input_ids.numel()),
      seqlen_(input_ids.size(1)),
      stride_(row_stride(distinct_activations(pool))),
      sample_stride_(input_ids.size(0) >= kManySamples ? 2 : 1),
      scheme_for_(scheme_for),
      table_(table),
      by_name_(index_by_name(pool)),
      ends_(model, pool, input_ids, settings, scheme_for, table),
      replay_(*this) {}

void FisherScore::keep_statistics() {
  for (const auto& [linear, index] : watched_) {
    const InputStatistics found = statistics_->of(linear);
    seen_[index] = {{found.imatrix, found.count}, found.act_max};
  }
  watched_.clear();
}

BlockHook& FisherScore::forward_hook(int64_t block) {
  keep_statistics();
  statistics_ = std::make_unique<StatisticsHook>();
  for (const Linear* linear : model_.block_linears(block)) {
    const auto found = by_name_.find(linear->name);
    if (found == by_name_.end()) continue;
    StatisticsWanted wanted;
    for (const LayerQuant& quant : pool_[found->second].quants) {
      wanted.imatrix = wanted.imatrix || quant.weight.super_bits > 0;
      wanted.act_max = wanted.act_max || wants_act_max(quant.act);
    }
    if (!wanted.any()) continue;
    statistics_->watch(linear, wanted);
    watched_.emplace_back(linear, found->second);
  }
  return *statistics_;
}

FisherScore::Layer FisherScore::layer_of(const PoolBlock::Layer& layer) const {
  const std::vector<LayerQuant>& quants = pool_[layer.index].quants;
  Layer out;
  if (!ends_.is_head(*layer.linear)) out.fisher = at::zeros(layer.linear->weight.sizes(), at::kFloat);
  for (size_t option = 0; option < quants.size(); ++option) {
    const TensorQuant& act = quants[option].act;
    if (!act.quantized()) continue;
    auto found = std::find_if(out.activations.begin(), out.activations.end(),
                              [&](const Activation& known) { return known.quant == act; });
    if (found == out.activations.end())
      found = out.activations.insert(found, {.quant = act, .scheme = &scheme_for_(act.data_type), .options = {}});
    found->options.push_back(option);
  }
  return out;
}

void FisherScore::begin(std::span<Linear* const> linears) {
  block_ = std::make_unique<PoolBlock>(linears, pool_, by_name_);
  int64_t largest = 0;
  for (const PoolBlock::Layer& layer : block_->layers()) {
    places_.emplace(layer.linear, layers_.size());
    layers_.push_back(layer_of(layer));
    if (!ends_.is_head(*layer.linear)) largest = std::max(largest, layer.linear->weight.numel());
  }
  if (!scratch_.defined() || scratch_.numel() < largest) scratch_ = at::empty({largest}, at::kFloat);
}

ReplayHook& FisherScore::replay_hook(int64_t block) {
  keep_statistics();
  Linear* const head = block == kHead ? &model_.head() : nullptr;
  if (block == kHead) ends_.begin_head();
  begin(block == kHead ? std::span(&head, 1) : std::span<Linear* const>(model_.block_linears(block)));
  return replay_;
}

// Every stride_-th row, at another position from sample to sample: first positions are unlike all others and must not
// be over-represented. `before`: rows the layer saw before these.
at::Tensor FisherScore::some_rows(const at::Tensor& rows, int64_t before) const {
  if (stride_ == 1) return rows;
  std::vector<int64_t> taken;
  for (int64_t row = 0; row < rows.size(0); ++row)
    if ((before + row + (before + row) / seqlen_) % stride_ == 0) taken.push_back(row);
  return rows.index_select(0, at::tensor(taken, at::kLong));
}

void FisherScore::add_activation_error(Activation& activation, size_t index, const at::Tensor& x,
                                       const at::Tensor& dx) {
  const bool known = last_x_.defined() && last_x_.const_data_ptr() == x.const_data_ptr() &&
                     last_x_.sizes() == x.sizes() && last_quant_ == activation.quant;
  const int64_t before = std::exchange(activation.rows, activation.rows + x.size(0));
  if (!known) {
    const auto seen = seen_.find(index);
    last_x_ = x;
    last_quant_ = activation.quant;
    last_rows_ = some_rows(x, before);
    last_rounded_ = activation.scheme->fake_quant_act(last_rows_, activation.quant,
                                                      seen == seen_.end() ? at::Tensor() : seen->second.act_max);
  }
  if (last_rows_.size(0) == 0) return;
  activation.sum += static_cast<double>(stride_) *
                    squared_products(some_rows(dx, before).contiguous(), last_rows_, last_rounded_.contiguous());
}

// Sample by sample where the rows are whole samples; an expert's rows come from anywhere.
void FisherScore::add_weight_gradient(Layer& mine, const Linear& layer, const at::Tensor& x, const at::Tensor& dy) {
  at::Tensor gradient = scratch_.narrow(0, 0, mine.fisher.numel()).view(mine.fisher.sizes());
  const bool whole = layer.kind != LayerKind::expert && x.size(0) % seqlen_ == 0;
  const int64_t step = whole ? seqlen_ : x.size(0);
  for (int64_t row = 0; row < x.size(0); row += step) {
    if (whole && mine.samples++ % sample_stride_ != 0) continue;
    mine.taken += whole ? 1 : 0;
    linear_weight_gradient(dy.narrow(0, row, step), x.narrow(0, row, step), gradient);
    add_squares(gradient, mine.fisher);
  }
}

void FisherScore::see(const Linear& layer, const at::Tensor& x, const at::Tensor& dy, const at::Tensor& dx) {
  const bool head = ends_.is_head(layer);
  if (head) ends_.see_head(x);
  const auto found = places_.find(&layer);
  if (found == places_.end() || x.numel() == 0) return;
  Layer& mine = layers_[found->second];
  if (!head) add_weight_gradient(mine, layer, x, dy);
  const size_t index = block_->layers()[found->second].index;
  for (Activation& activation : mine.activations) add_activation_error(activation, index, x, dx);
}

void FisherScore::score_weights(size_t option) {
  const std::vector<size_t> choice(layers_.size(), option);
  const std::vector<PoolBlock::Rounding> roundings = block_->roundings(choice, scheme_for_);
  for (size_t i = 0; i < layers_.size(); ++i) {
    if (!roundings[i].plan.quant.weight.quantized()) continue;
    const PoolBlock::Layer& layer = block_->layers()[i];
    if (ends_.is_head(*layer.linear)) continue;
    // Rows that hold no whole blocks of two options may get the same number format from both.
    const std::vector<LayerQuant>& quants = pool_[layer.index].quants;
    const auto twin = std::find_if(quants.begin(), quants.begin() + static_cast<std::ptrdiff_t>(option),
                                   [&](const LayerQuant& quant) { return quant.weight == quants[option].weight; });
    if (const auto first = static_cast<size_t>(twin - quants.begin());
        first < option && !roundings[i].global_scale.defined()) {
      table_.loss[layer.index][option] += table_.loss[layer.index][first];
      continue;
    }
    const auto seen = seen_.find(layer.index);
    const at::Tensor rounded = rounded_weight(*layer.linear, roundings[i].plan, scheme_for_, roundings[i].global_scale,
                                              seen == seen_.end() ? Importance{} : seen->second.importance);
    const Layer& mine = layers_[i];
    const double share = mine.taken == 0 ? 1.0 : static_cast<double>(mine.samples) / static_cast<double>(mine.taken);
    table_.loss[layer.index][option] +=
        share * weighted_squared_error(mine.fisher, layer.linear->weight.contiguous(), rounded.contiguous());
  }
}

void FisherScore::replayed(int64_t block) {
  const at::NoGradGuard no_grad;
  for (size_t option = 0; option < table_.options.size(); ++option) score_weights(option);
  for (size_t i = 0; i < layers_.size(); ++i) {
    std::vector<double>& losses = table_.loss[block_->layers()[i].index];
    for (const Activation& activation : layers_[i].activations)
      for (const size_t option : activation.options) losses[option] += activation.sum;
    for (double& loss : losses) loss /= 2.0 * static_cast<double>(tokens_);
  }
  if (block == kHead) ends_.score_head();
  block_.reset();
  places_.clear();
  layers_.clear();
  last_x_ = last_rows_ = last_rounded_ = at::Tensor();
}

}  // namespace arkit::auto_scheme
