#include "autoscheme/score_fisher.h"

#include <algorithm>
#include <utility>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "tuning/gemm.h"

namespace arkit::auto_scheme {
namespace {

// One row in four is enough to average over, and keeps an option at a quarter of a product; from nine options on the
// share falls with their number.
int64_t row_stride(size_t options) {
  return std::max<int64_t>(4, static_cast<int64_t>(options + 1) / 2);
}

// [samples, seqlen, width] -> x_s x_t of every sample, f32 [samples, seqlen, seqlen].
at::Tensor products_of_positions(const at::Tensor& rows, int64_t seqlen) {
  const at::Tensor x = rows.view({-1, seqlen, rows.size(1)});
  return at::bmm(x, x.transpose(1, 2)).to(at::kFloat);
}

at::Tensor dot_rows(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kFloat) * b.to(at::kFloat)).sum(-1);
}

}  // namespace

FisherScore::FisherScore(Model& model, std::span<const PoolLayer> pool, const at::Tensor& input_ids,
                         const SchemeFor& scheme_for, ScoreTable& table)
    : model_(model),
      pool_(pool),
      tokens_(input_ids.numel()),
      seqlen_(input_ids.size(1)),
      stride_(row_stride(table.options.size())),
      scheme_for_(scheme_for),
      table_(table),
      by_name_(index_by_name(pool)),
      replay_(*this) {}

// A layer without a gradient has none anywhere. Bounded, because few samples leave it uncertain.
double FisherScore::Gathered::coherence() const {
  constexpr double kLeast = 0.5, kMost = 8.0;
  return separate > 0.0 ? std::clamp(coherent / separate, kLeast, kMost) : 1.0;
}

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

void FisherScore::begin(std::span<Linear* const> linears) {
  block_ = std::make_unique<PoolBlock>(linears, pool_, by_name_);
  for (const PoolBlock::Layer& layer : block_->layers()) places_.emplace(layer.linear, places_.size());
  gathered_.resize(places_.size());
}

ReplayHook& FisherScore::replay_hook(int64_t block) {
  keep_statistics();
  Linear* const head = block == kHead ? &model_.head() : nullptr;
  begin(block == kHead ? std::span(&head, 1) : std::span<Linear* const>(model_.block_linears(block)));
  return replay_;
}

// Every stride_-th position, another one from sample to sample: first positions are unlike all others and must not be
// over-represented.
at::Tensor FisherScore::some_rows(const at::Tensor& rows, int64_t samples_before) const {
  std::vector<int64_t> taken;
  for (int64_t row = 0; row < rows.size(0); ++row)
    if ((row % seqlen_ + row / seqlen_ + samples_before) % stride_ == 0) taken.push_back(row);
  return rows.index_select(0, at::tensor(taken, at::kLong));
}

// |sum over t of g_t^T x_t|^2 = sum over s, t of (g_s g_t) (x_s x_t): products of positions instead of a matrix of the
// weight's size for every sample.
void FisherScore::add_coherence(Gathered& mine, const at::Tensor& x, const at::Tensor& dy) {
  if (!last_products_.defined()) last_products_ = products_of_positions(x, seqlen_);
  const at::Tensor both = products_of_positions(dy, seqlen_).mul_(last_products_);
  mine.coherent += both.sum(at::kDouble).item<double>();
  mine.separate += both.diagonal(0, 1, 2).sum(at::kDouble).item<double>();
}

void FisherScore::see(const Linear& layer, const at::Tensor& x, const at::Tensor& dy, const at::Tensor& dx) {
  const auto found = places_.find(&layer);
  if (found == places_.end() || x.numel() == 0) return;
  Gathered& mine = gathered_[found->second];
  const bool known =
      last_x_.defined() && last_x_.const_data_ptr() == x.const_data_ptr() && last_x_.sizes() == x.sizes();
  if (!known) {
    last_x_ = x;
    last_some_ = some_rows(x, mine.samples);
    last_products_ = at::Tensor();
  }
  mine.x.push_back(last_some_);
  mine.dy.push_back(some_rows(dy, mine.samples));
  mine.dx.push_back(some_rows(dx, mine.samples));
  // Labels are independent, and with them the head's gradients; an expert's rows come from anywhere.
  const LayerPlan& plan = pool_[block_->layers()[found->second].index].plan;
  if (plan.block >= 0 && plan.kind != LayerKind::expert) add_coherence(mine, x, dy);
  mine.rows += x.size(0);
  mine.samples += std::max<int64_t>(1, x.size(0) / seqlen_);
}

// g e = (g (W - Wq)) x + (g Wq) (x - xq), and g Wq = dx - g (W - Wq).
void FisherScore::score_layer(size_t place, std::span<const PoolBlock::Rounding> by_option) {
  Gathered mine = std::exchange(gathered_[place], {});
  if (mine.rows == 0) return;
  const PoolBlock::Layer& layer = block_->layers()[place];
  const at::Tensor x = at::cat(mine.x), dy = at::cat(mine.dy), dx = at::cat(mine.dx);
  const auto found = seen_.find(layer.index);
  const Seen seen = found == seen_.end() ? Seen{} : found->second;
  const double share = static_cast<double>(mine.rows) / static_cast<double>(x.size(0));
  const double factor = mine.coherence() * share / (2.0 * static_cast<double>(tokens_));
  for (size_t option = 0; option < by_option.size(); ++option) {
    const LayerQuant& quant = by_option[option].plan.quant;
    if (!quant.quantized()) continue;
    at::Tensor back = dx, sum = at::zeros({x.size(0)}, at::kFloat);
    if (quant.weight.quantized()) {
      const at::Tensor rounded = rounded_weight(*layer.linear, by_option[option].plan, scheme_for_,
                                                by_option[option].global_scale, seen.importance);
      const at::Tensor error = linear_input_gradient(dy, (layer.linear->weight - rounded).contiguous());
      sum += dot_rows(error, x);
      back = dx - error;
    }
    if (quant.act.quantized()) {
      const at::Tensor rounded = scheme_for_(quant.act.data_type).fake_quant_act(x, quant.act, seen.act_max);
      sum += dot_rows(back, x - rounded);
    }
    table_.loss[layer.index][option] = factor * sum.square().sum(at::kDouble).item<double>();
  }
}

void FisherScore::replayed(int64_t /*block*/) {
  const at::NoGradGuard no_grad;
  std::vector<std::vector<PoolBlock::Rounding>> by_layer(gathered_.size());
  for (size_t option = 0; option < table_.options.size(); ++option) {
    const std::vector<size_t> choice(gathered_.size(), option);
    std::vector<PoolBlock::Rounding> roundings = block_->roundings(choice, scheme_for_);
    for (size_t i = 0; i < roundings.size(); ++i) by_layer[i].push_back(std::move(roundings[i]));
  }
  for (size_t i = 0; i < by_layer.size(); ++i) score_layer(i, by_layer[i]);
  block_.reset();
  places_.clear();
  gathered_.clear();
  last_x_ = last_some_ = last_products_ = at::Tensor();
}

}  // namespace arkit::auto_scheme
