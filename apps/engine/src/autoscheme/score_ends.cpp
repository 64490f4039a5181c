#include "autoscheme/score_ends.h"

#include <algorithm>
#include <deque>
#include <limits>
#include <string>
#include <utility>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <arkit/error.h>
#include <arkit/str.h>

#include "rounding/global_scales.h"
#include "tuning/gemm.h"

namespace arkit::auto_scheme {
namespace {

constexpr int64_t kHeadPositions = 512;
constexpr int64_t kStripRows = 2048;  // of the vocabulary; whole blocks of rows that share a scale

// Options that quantize a weight, each once for those that mean the same; `same` gives every option its first twin.
std::vector<size_t> distinct_options(const PoolLayer& layer, std::vector<size_t>& same) {
  std::vector<size_t> distinct;
  same.assign(layer.quants.size(), layer.quants.size());
  for (size_t o = 0; o < layer.quants.size(); ++o) {
    if (!layer.quants[o].weight.quantized()) continue;
    const auto twin = std::find_if(distinct.begin(), distinct.end(),
                                   [&](size_t other) { return layer.quants[other].weight == layer.quants[o].weight; });
    same[o] = twin == distinct.end() ? o : *twin;
    if (twin == distinct.end()) distinct.push_back(o);
  }
  return distinct;
}

LayerPlan with_quant(const PoolLayer& layer, size_t option) {
  LayerPlan plan = layer.plan;
  plan.quant = layer.quants[option];
  return plan;
}

}  // namespace

std::optional<size_t> table_in(std::span<const PoolLayer> pool) {
  const auto found = std::find_if(pool.begin(), pool.end(),
                                  [](const PoolLayer& layer) { return layer.plan.kind == LayerKind::embedding; });
  return found == pool.end() ? std::nullopt : std::optional(static_cast<size_t>(found - pool.begin()));
}

std::optional<size_t> head_in(std::span<const PoolLayer> pool, Model& model) {
  const std::string& name = model.head().name;
  const auto found = std::find_if(pool.begin(), pool.end(), [&](const PoolLayer& layer) {
    return layer.plan.kind != LayerKind::embedding && layer.plan.name == name;
  });
  if (found != pool.end()) return static_cast<size_t>(found - pool.begin());
  return model.tied_embeddings() ? table_in(pool) : std::nullopt;
}

TokenRows::TokenRows(const Model& model, const at::Tensor& ids) {
  const at::NoGradGuard no_grad;
  const auto [tokens, places] = at::_unique(ids, true, true);
  places_ = places;
  rows_ = model.embed(tokens.unsqueeze(0)).squeeze(0).to(at::kFloat).contiguous();
}

at::Tensor TokenRows::rounded(const LayerPlan& plan, const SchemeFor& scheme_for) const {
  Linear table{.name = plan.name, .out_features = rows_.size(0), .in_features = rows_.size(1)};
  table.weight = rows_;
  LayerPlan small = plan;
  small.out_features = rows_.size(0);
  return rounded_weight(table, small, scheme_for, {}, {});
}

at::Tensor TokenRows::embed(const at::Tensor& rows, at::ScalarType dtype) const {
  std::vector<int64_t> sizes = places_.sizes().vec();
  sizes.push_back(rows.size(1));
  return rows.index_select(0, places_.reshape(-1)).to(dtype).view(sizes);
}

EndScore::EndScore(Model& model, std::span<const PoolLayer> pool, const at::Tensor& input_ids,
                   const ScoreSettings& settings, const SchemeFor& scheme_for, ScoreTable& table)
    : model_(model),
      pool_(pool),
      input_ids_(input_ids),
      settings_(settings),
      scheme_for_(scheme_for),
      table_(table),
      seqlen_(input_ids.size(1)),
      stride_(std::max<int64_t>(1, (input_ids.numel() + kHeadPositions - 1) / kHeadPositions)) {}

void EndScore::begin_head() {
  head_ = head_in(pool_, model_);
  at_hand_ = head_ ? &model_.head() : nullptr;
  seen_ = 0;
  inputs_.clear();
}

// Every stride_-th position, at another place from sample to sample, as first ones are unlike all others.
void EndScore::see_head(const at::Tensor& x) {
  std::vector<int64_t> taken;
  for (int64_t row = 0; row < x.size(0); ++row, ++seen_)
    if ((seen_ % seqlen_ + seen_ / seqlen_) % stride_ == 0) taken.push_back(row);
  if (!taken.empty()) inputs_.push_back(x.detach().index_select(0, at::tensor(taken, at::kLong)));
}

at::Tensor EndScore::logits(const at::Tensor& products) const {
  at::Tensor y = products.to(at::kFloat);
  if (settings_.logit_divisor != 1.0) y = y / settings_.logit_divisor;
  const double cap = settings_.logit_softcap;
  return cap > 0.0 ? (y / cap).tanh().mul_(cap) : y;
}

// One option of the head, strip by strip where rows are independent, else all at once.
class EndScore::RoundedHead {
 public:
  RoundedHead(const Linear& head, LayerPlan plan, const SchemeFor& scheme_for, Importance importance)
      : head_(head), plan_(std::move(plan)), scheme_for_(scheme_for), importance_(std::move(importance)) {
    const TensorQuant& quant = plan_.quant.weight;
    const Scheme& scheme = scheme_for_(quant.data_type);
    std::vector<GlobalScaleMember> member{{&plan_, &scheme, head_.weight, {}}};
    share_global_scales(member, true);
    scale_ = member.front().scale;
    if (quant.group_size == 0 || !scheme.traits(plan_.quant).independent_rows)
      whole_ = rounded_weight(head_, plan_, scheme_for_, scale_, importance_);
  }

  [[nodiscard]] at::Tensor rows(int64_t first, int64_t count) const {
    if (whole_.defined()) return whole_.narrow(0, first, count);
    Linear strip{.name = head_.name, .out_features = count, .in_features = head_.in_features};
    strip.weight = head_.weight.narrow(0, first, count);
    LayerPlan plan = plan_;
    plan.out_features = count;
    return rounded_weight(strip, plan, scheme_for_, scale_, importance_);
  }

  at::Tensor mean, grown;  // by position, f64: sums over the vocabulary of p d and of p (e^d - 1)

 private:
  const Linear& head_;
  LayerPlan plan_;
  const SchemeFor& scheme_for_;
  Importance importance_;
  at::Tensor scale_, whole_;
};

// With p of the float model and d the change of a logit: KL = log sum p e^d - sum p d.
std::vector<double> EndScore::head_losses(const std::vector<size_t>& options) {
  const Linear& head = model_.head();
  const PoolLayer& layer = pool_[*head_];
  const at::Tensor x = at::cat(inputs_).contiguous();
  const int64_t rows = head.weight.size(0), positions = x.size(0);
  const auto strips = [&](const auto& each) {
    for (int64_t first = 0; first < rows; first += kStripRows) {
      throw_if_interrupted();
      const int64_t count = std::min(kStripRows, rows - first);
      const at::Tensor bias = head.bias.defined() ? head.bias.narrow(0, first, count) : at::Tensor();
      each(first, count, linear_forward(x, head.weight.narrow(0, first, count), bias).to(at::kFloat));
    }
  };
  at::Tensor log_sum = at::full({positions}, -std::numeric_limits<float>::infinity(), at::kFloat);
  strips([&](int64_t, int64_t, const at::Tensor& y) { log_sum = at::logaddexp(log_sum, logits(y).logsumexp(-1)); });

  // Tables are rounded plainly, a head of its own with the importance of its inputs.
  Importance importance;
  if (layer.plan.kind != LayerKind::embedding)
    importance = {.squares = x.to(at::kFloat).square().sum(0), .count = positions};
  std::deque<RoundedHead> heads;
  for (const size_t option : options) {
    RoundedHead& rounded = heads.emplace_back(head, with_quant(layer, option), scheme_for_, importance);
    rounded.mean = at::zeros({positions}, at::kDouble);
    rounded.grown = at::zeros({positions}, at::kDouble);
  }
  strips([&](int64_t first, int64_t count, const at::Tensor& y) {
    const at::Tensor weight = head.weight.narrow(0, first, count), before = logits(y);
    const at::Tensor p = (before - log_sum.unsqueeze(1)).exp_();
    for (RoundedHead& rounded : heads) {
      const at::Tensor error = (rounded.rows(first, count) - weight).contiguous();
      const at::Tensor change = linear_forward(x, error, {}).to(at::kFloat);
      const at::Tensor d = logits(y + change).sub_(before);
      rounded.mean += (p * d).sum(1, false, at::kDouble);
      rounded.grown += d.expm1().mul_(p).sum(1, false, at::kDouble);
    }
  });
  std::vector<double> losses;
  for (const RoundedHead& rounded : heads)
    losses.push_back(std::max(0.0, (rounded.grown.log1p() - rounded.mean).mean().item<double>()));
  return losses;
}

void EndScore::score_head() {
  at_hand_ = nullptr;
  if (!head_ || inputs_.empty()) return;
  const at::NoGradGuard no_grad;
  std::vector<size_t> same;
  const std::vector<size_t> options = distinct_options(pool_[*head_], same);
  const std::vector<double> losses = head_losses(options);
  for (size_t o = 0; o < same.size(); ++o)
    for (size_t i = 0; i < options.size(); ++i)
      if (same[o] == options[i]) table_.loss[*head_][o] += losses[i];
  inputs_.clear();
}

void EndScore::score_table(const at::Tensor& gradient) {
  const std::optional<size_t> index = table_in(pool_);
  if (!index) return;
  const at::NoGradGuard no_grad;
  model_.load_rest();
  const TokenRows tokens(model_, input_ids_);
  at::Tensor fisher = at::zeros_like(tokens.rows());
  for (int64_t sample = 0; sample < input_ids_.size(0); ++sample) {
    at::Tensor sum = at::zeros_like(fisher);
    sum.index_add_(0, tokens.places()[sample], gradient[sample].to(at::kFloat));
    fisher.addcmul_(sum, sum);
  }
  std::vector<size_t> same;
  const double twice = 2.0 * static_cast<double>(input_ids_.numel());
  for (const size_t option : distinct_options(pool_[*index], same)) {
    const at::Tensor error = tokens.rounded(with_quant(pool_[*index], option), scheme_for_) - tokens.rows();
    const double loss = (fisher * error.square()).sum(at::kDouble).item<double>() / twice;
    for (size_t o = 0; o < same.size(); ++o)
      if (same[o] == option) table_.loss[*index][o] += loss;
  }
  model_.release_rest();
}

}  // namespace arkit::auto_scheme
