#include "autoscheme/refine_meter.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <arkit/error.h>

#include "autoscheme/score_pass.h"
#include "tuning/collect.h"
#include "util/tensor_cache.h"

namespace arkit::auto_scheme {
namespace {

constexpr int64_t kLogits = int64_t{1} << 22;        // elements of logits kept at once: 16 MiB in f32
constexpr int64_t kRoundedBytes = int64_t{1} << 30;  // of rounded weights kept from one measurement to the next

// The head costs as much as a third of a small model's blocks, twice: at most these many positions go through it.
constexpr int64_t kPositions = 2048;

// Every n-th position, at another place from sample to sample.
at::Tensor measured_positions(int64_t samples, int64_t seqlen) {
  const int64_t stride = std::max<int64_t>(1, (samples * seqlen + kPositions - 1) / kPositions);
  std::vector<int64_t> taken;
  for (int64_t row = 0; row < samples * seqlen; ++row)
    if ((row % seqlen + row / seqlen) % stride == 0) taken.push_back(row);
  return at::tensor(taken, at::kLong);
}

at::Tensor log_probs(Model& model, const at::Tensor& hidden, BlockHook& hook) {
  return model.logits(hidden.unsqueeze(0), hook).squeeze(0).to(at::kFloat).log_softmax(-1);
}

}  // namespace

KlMeter::KlMeter(Model& model, at::Tensor input_ids, std::span<const PoolLayer> pool, const SchemeFor& scheme_for,
                 Reporter& reporter)
    : model_(model),
      input_ids_(input_ids.contiguous()),
      pool_(pool),
      scheme_for_(scheme_for),
      reporter_(reporter),
      by_name_(index_by_name(pool)),
      table_(table_in(pool)),
      kept_(pool.size(), kLeftAlone) {
  const at::NoGradGuard no_grad;
  const TensorCacheScope reuse;
  model_.load_rest();
  inputs_.push_back(model_.embed(input_ids_));
  compute_dtype_ = inputs_.front().scalar_type();
  if (table_) tokens_.emplace(model_, input_ids_);
  model_.release_rest();
  at::Tensor hidden = inputs_.front();
  for (int64_t block = 0; block < model_.num_blocks(); ++block) {
    throw_if_interrupted();
    model_.load_block(block);
    StatisticsHook ranges;
    std::vector<std::pair<const Linear*, size_t>> watched;
    for (const Linear* linear : model_.block_linears(block)) {
      const auto found = by_name_.find(linear->name);
      if (found == by_name_.end()) continue;
      const std::vector<LayerQuant>& quants = pool_[found->second].quants;
      if (std::none_of(quants.begin(), quants.end(), [](const LayerQuant& q) { return wants_act_max(q.act); }))
        continue;
      ranges.watch(linear, {.act_max = true});
      watched.emplace_back(linear, found->second);
    }
    hidden = run_block(block, hidden, ranges);
    for (const auto& [linear, index] : watched) act_max_[index] = ranges.of(linear).act_max;
    model_.release_block(block);
    if (block + 1 < model_.num_blocks()) inputs_.push_back(hidden);
    reporter_.progress({"float model", block + 1, model_.num_blocks(), "blocks"});
  }
  positions_ = measured_positions(input_ids_.size(0), input_ids_.size(1));
  float_hidden_ = hidden.view({-1, hidden.size(-1)}).index_select(0, positions_);
}

at::Tensor KlMeter::run_block(int64_t block, const at::Tensor& input, BlockHook& hook) {
  const int64_t samples = input.size(0), batch = std::max<int64_t>(1, kBatchTokens / input.size(1));
  at::Tensor output = at::empty_like(input);
  for (int64_t first = 0; first < samples; first += batch) {
    const int64_t count = std::min(batch, samples - first);
    output.narrow(0, first, count)
        .copy_(model_.run_block(block, input.narrow(0, first, count), contexts_.get(model_, count, input_ids_.size(1)),
                                hook));
  }
  return output;
}

// num_blocks when only the head differs.
int64_t KlMeter::first_difference(const Choice& choice) const {
  if (table_ && choice[*table_] != kept_[*table_]) return 0;
  int64_t first = model_.num_blocks();
  for (size_t i = 0; i < choice.size(); ++i)
    if (choice[i] != kept_[i] && pool_[i].plan.block >= 0) first = std::min(first, pool_[i].plan.block);
  return first;
}

at::Tensor KlMeter::rounded(const PoolBlock::Layer& layer, const PoolBlock::Rounding& rounding) {
  const TensorQuant& quant = rounding.plan.quant.weight;
  const auto [begin, end] = rounded_.equal_range(layer.index);
  for (auto known = begin; known != end; ++known) {
    const at::Tensor &a = known->second.global_scale, &b = rounding.global_scale;
    if (known->second.quant == quant && a.defined() == b.defined() && (!a.defined() || a.equal(b)))
      return known->second.weight;
  }
  const at::Tensor weight = rounded_weight(*layer.linear, rounding.plan, scheme_for_, rounding.global_scale, {});
  const auto bytes = static_cast<int64_t>(weight.nbytes());
  if (rounded_bytes_ + bytes <= kRoundedBytes) {
    rounded_bytes_ += bytes;
    rounded_.emplace(layer.index, Rounded{quant, rounding.global_scale, weight});
  }
  return weight;
}

void KlMeter::replace(QuantizedHook& hook, std::span<Linear* const> linears, const Choice& choice) {
  const PoolBlock block(linears, pool_, by_name_);
  Choice mine;
  for (const PoolBlock::Layer& layer : block.layers()) mine.push_back(choice[layer.index]);
  const std::vector<PoolBlock::Rounding> roundings = block.roundings(mine, scheme_for_);
  for (size_t i = 0; i < roundings.size(); ++i) {
    const LayerQuant& quant = roundings[i].plan.quant;
    if (!quant.quantized()) continue;
    const PoolBlock::Layer& layer = block.layers()[i];
    const auto range = act_max_.find(layer.index);
    hook.replace(layer.linear,
                 {.weight = quant.weight.quantized() ? rounded(layer, roundings[i]) : layer.linear->weight,
                  .act_scheme = quant.act.quantized() ? &scheme_for_(quant.act.data_type) : nullptr,
                  .act = quant.act,
                  .act_max = range == act_max_.end() ? at::Tensor() : range->second});
  }
}

// The head that is the table of embeddings.
void KlMeter::replace_tied_head(QuantizedHook& hook, const Choice& choice) {
  Linear& head = model_.head();
  if (!table_ || choice[*table_] == kLeftAlone || head_in(pool_, model_) != table_) return;
  PoolBlock::Rounding rounding{.plan = pool_[*table_].plan, .global_scale = {}};
  rounding.plan.quant = pool_[*table_].quants[choice[*table_]];
  if (!rounding.plan.quant.weight.quantized()) return;
  hook.replace(&head, {.weight = rounded({&head, *table_}, rounding), .bias = {}, .act = {}, .act_max = {}});
}

// What enters the first block.
at::Tensor KlMeter::embedded(const Choice& choice) {
  LayerPlan plan = pool_[*table_].plan;
  if (choice[*table_] != kLeftAlone) plan.quant = pool_[*table_].quants[choice[*table_]];
  const bool rounds = choice[*table_] != kLeftAlone && plan.quant.weight.quantized();
  return tokens_->embed(rounds ? tokens_->rounded(plan, scheme_for_) : tokens_->rows(), compute_dtype_);
}

double KlMeter::divergence(const at::Tensor& hidden, const Choice& choice) {
  model_.load_rest();
  DenseHook plain;
  QuantizedHook quantized;
  Linear* const head = &model_.head();
  replace(quantized, std::span(&head, 1), choice);
  replace_tied_head(quantized, choice);
  const at::Tensor& theirs = float_hidden_;
  const at::Tensor mine = hidden.view({-1, hidden.size(-1)}).index_select(0, positions_);
  const int64_t rows = theirs.size(0), slice = std::max<int64_t>(1, kLogits / model_.vocab_size());
  double sum = 0.0;
  for (int64_t row = 0; row < rows; row += slice) {
    throw_if_interrupted();
    const int64_t count = std::min(slice, rows - row);
    const at::Tensor p = log_probs(model_, theirs.narrow(0, row, count), plain);
    at::Tensor q = log_probs(model_, mine.narrow(0, row, count), quantized);
    q = p - q;
    sum += q.mul_(p.exp()).sum(-1).sum(at::kDouble).item<double>();
  }
  model_.release_rest();
  return sum / static_cast<double>(rows);
}

double KlMeter::measure(const Choice& choice, bool keep) {
  ARKIT_CHECK(choice.size() == pool_.size(), "an allocation has an option for every layer of the pool");
  const at::NoGradGuard no_grad;
  const TensorCacheScope reuse;
  ++measurements_;
  const int64_t blocks = model_.num_blocks(), first = first_difference(choice);
  // Without a difference in blocks the last one is run again: its output is not kept.
  const int64_t start = std::min(first, blocks - 1);
  at::Tensor hidden = start == 0 && table_ ? embedded(choice) : inputs_[static_cast<size_t>(start)];
  for (int64_t block = start; block < blocks; ++block) {
    throw_if_interrupted();
    if (keep) inputs_[static_cast<size_t>(block)] = hidden;
    model_.load_block(block);
    QuantizedHook hook;
    replace(hook, model_.block_linears(block), choice);
    hidden = run_block(block, hidden, hook);
    model_.release_block(block);
  }
  if (keep) kept_ = choice;
  return divergence(hidden, choice);
}

}  // namespace arkit::auto_scheme
