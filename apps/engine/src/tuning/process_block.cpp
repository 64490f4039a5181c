#include "tuning/process_block.h"

#include <algorithm>
#include <chrono>
#include <optional>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <arkit/error.h>
#include <arkit/str.h>

#include "rounding/global_scales.h"
#include "rounding/rtn_mode.h"
#include "tuning/attention_ranges.h"
#include "tuning/sample_needs.h"
#include "util/finite.h"
#include "util/naming_layer.h"
#include "util/seconds.h"
#include "util/tensor_cache.h"

namespace arkit {

struct BlockProcessor::Layer {
  Linear* linear = nullptr;
  const LayerPlan* plan = nullptr;
  const Scheme* weight_scheme = nullptr;
  const Scheme* act_scheme = nullptr;
  InputStatistics input;
  at::Tensor given;  // importance from a file
  at::Tensor global_scale;

  [[nodiscard]] const LayerQuant& quant() const { return plan->quant; }
  [[nodiscard]] bool static_act() const { return act_scheme != nullptr && wants_act_max(quant().act); }
  [[nodiscard]] const at::Tensor& importance() const { return given.defined() ? given : input.imatrix; }
  [[nodiscard]] int64_t importance_count() const { return given.defined() ? 1 : input.count; }
};

namespace {

// Norm weights as they pass the hook, by name.
class NormCapture final : public DenseHook {
 public:
  at::Tensor norm_weight(std::string_view name, const at::Tensor& weight) override {
    seen.insert_or_assign(std::string(name), weight);
    return weight;
  }
  std::map<std::string, at::Tensor, std::less<>> seen;
};

// Keeps the head's input and spares its product.
class HeadInput final : public DenseHook {
 public:
  explicit HeadInput(const Linear& head) : head_(head) {}
  at::Tensor linear(const Linear& layer, const at::Tensor& x) override {
    if (&layer != &head_) return DenseHook::linear(layer, x);
    input = x;
    return at::zeros({x.size(0), x.size(1), 1}, x.options());
  }
  at::Tensor input;

 private:
  const Linear& head_;
};

// Finite activations may still be too large for f32 sums of their squares.
void check_statistics(const InputStatistics& input, const std::string& layer) {
  for (const at::Tensor& statistic : {input.imatrix, input.act_max})
    if (statistic.defined() && !io::is_finite(statistic))
      throw_input(
          str("layer '", layer,
              "': the statistics of its input are not finite, expected activations whose squares fit float32; the "
              "weights of an earlier layer are too large or damaged"));
}

}  // namespace

BlockProcessor::BlockProcessor(Model& model, const QuantPlan& plan, SchemeFor scheme_for, ProcessOptions options,
                               Reporter& reporter, PythonRandom& random)
    : model_(model),
      plan_(plan),
      scheme_for_(std::move(scheme_for)),
      options_(std::move(options)),
      reporter_(reporter),
      random_(random) {
  const SchemeTraits traits = traits_of(plan_.global, scheme_for_);
  plain_by_default_ = traits.plain_by_default;
  outlier_free_ = traits.outlier_free_loss;
  for (const LayerPlan& layer : plan_.layers)
    if (layer.quantized()) by_name_.emplace(layer.name, &layer);
}

std::vector<BlockProcessor::Layer> BlockProcessor::planned(std::span<Linear* const> linears) const {
  std::vector<Layer> layers;
  for (Linear* linear : linears) {
    const auto found = by_name_.find(linear->name);
    if (found == by_name_.end()) continue;
    ARKIT_CHECK(linear->weight.defined(), str("layer '", linear->name, "' is packed already"));
    Layer& layer = layers.emplace_back();
    layer.linear = linear;
    layer.plan = found->second;
    if (layer.quant().weight.quantized()) layer.weight_scheme = &scheme_for_(layer.quant().weight.data_type);
    if (layer.quant().act.quantized()) layer.act_scheme = &scheme_for_(layer.quant().act.data_type);
    if (options_.importance && layer.weight_scheme != nullptr) layer.given = options_.importance(linear->name);
    io::check_finite(linear->weight, str(linear->name, ".weight"));  // a NaN would spread to every later block
  }
  return layers;
}

const ForwardContext& BlockProcessor::context(std::span<const int64_t> samples, int64_t seqlen) {
  const auto batch = static_cast<int64_t>(samples.size());
  if (options_.attention_mask.defined()) {
    const at::Tensor index = at::tensor(at::IntArrayRef(samples.data(), samples.size()), at::kLong);
    masked_context_ = model_.context(batch, seqlen, options_.attention_mask.index_select(0, index), at::Tensor(), {});
    return masked_context_;
  }
  return contexts_.get(model_, batch, seqlen);
}

BlockForward BlockProcessor::forward_of(int64_t first, int64_t count) {
  return [this, first, count](const at::Tensor& input, std::span<const int64_t> samples, BlockHook& hook) {
    const ForwardContext& shared = context(samples, input.size(1));
    at::Tensor hidden = input;
    FoldedNorms folded(hook, folded_);
    BlockHook& seen = folded_.norms.empty() ? hook : folded;
    for (int64_t block = first; block < first + count; ++block) hidden = model_.run_block(block, hidden, shared, seen);
    return hidden;
  };
}

bool BlockProcessor::needs_imatrix(const Layer& layer) const {
  return layer.weight_scheme != nullptr && looks_at_importance(*layer.plan, layer.weight_scheme->traits(layer.quant()),
                                                               {.tunes = tunes(),
                                                                .alg_ext = options_.tune.enable_alg_ext,
                                                                .plain_by_default = plain_by_default_,
                                                                .disable_opt_rtn = options_.disable_opt_rtn});
}

bool BlockProcessor::measures_imatrix(const Layer& layer) const {
  if (options_.importance || layer.weight_scheme == nullptr) return false;
  return options_.want_imatrix || needs_imatrix(layer);
}

RtnMode BlockProcessor::mode_of(const LayerPlan& layer) const {
  return rtn_mode(layer, plain_by_default_, options_.disable_opt_rtn);
}

StatisticsHook BlockProcessor::watch(const std::vector<Layer>& layers, bool imatrix, bool act_max) const {
  StatisticsHook hook;
  for (const Layer& layer : layers) {
    const StatisticsWanted wanted{.imatrix = imatrix && measures_imatrix(layer),
                                  .act_max = act_max && layer.static_act(),
                                  .moving = layer.quant().act.observer == "minmax"};
    if (wanted.any()) hook.watch(layer.linear, wanted);
  }
  return hook;
}

void BlockProcessor::share_global_scales(std::vector<Layer>& layers) const {
  std::vector<GlobalScaleMember> members;
  for (const Layer& layer : layers) members.push_back({layer.plan, layer.weight_scheme, layer.linear->weight, {}});
  arkit::share_global_scales(members);
  for (size_t i = 0; i < layers.size(); ++i) layers[i].global_scale = members[i].scale;
}

void BlockProcessor::finish(QuantizedLayer& out, const Layer& layer, bool needs_weight) const {
  out.plan = layer.plan;
  if (options_.want_imatrix) {
    out.imatrix = layer.importance();
    out.imatrix_count = layer.importance_count();
    out.imatrix_tokens = layer.input.tokens;
  }
  if (!needs_weight && !options_.want_dequantized) return;
  const at::Tensor& weight = layer.linear->weight;
  if (layer.weight_scheme == nullptr) {
    out.dequantized = weight;
    return;
  }
  out.dequantized = plugins::naming_layer(layer.plan->name, [&] {
    return layer.weight_scheme->dequantize(out.quantized, layer.quant().weight, weight.scalar_type());
  });
}

void BlockProcessor::round_layers(std::vector<Layer>& layers, bool need_weights, BlockResult& result) const {
  const at::NoGradGuard no_grad;
  for (const Layer& layer : layers) {
    QuantizedLayer& out = result.layers.emplace_back();
    out.act_max = layer.input.act_max;
    if (layer.weight_scheme != nullptr)
      out.quantized = plugins::naming_layer(layer.plan->name, [&] {
        return layer.weight_scheme->quantize_rtn(layer.linear->weight, layer.quant().weight, mode_of(*layer.plan),
                                                 needs_imatrix(layer) ? layer.importance() : at::Tensor(),
                                                 layer.importance_count(), layer.global_scale);
      });
    finish(out, layer, need_weights);
  }
}

void BlockProcessor::tune_layers(std::vector<Layer>& layers, TuneTask task, BlockResult& result) {
  for (const Layer& layer : layers)
    task.layers.push_back({.linear = layer.linear,
                           .quant = layer.quant(),
                           .weight_scheme = layer.weight_scheme,
                           .act_scheme = layer.act_scheme,
                           .imatrix = needs_imatrix(layer) ? layer.importance() : at::Tensor(),
                           .global_scale = layer.global_scale,
                           .act_max = layer.input.act_max});
  task.loss_mask = options_.loss_mask;
  if (options_.tune.enable_alg_ext && outlier_free_) task.loss = LossKind::outlier_free;
  TuneResult tuned = tune_block(task, options_.tune, random_);

  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < layers.size(); ++i) {
    QuantizedLayer& out = result.layers.emplace_back();
    const Layer& layer = layers[i];
    LayerTuning best = std::move(tuned.layers[i]);
    out.bias = best.bias;
    out.act_max = best.act_max;
    if (layer.weight_scheme != nullptr)
      out.quantized = plugins::naming_layer(layer.plan->name, [&] { return best.weight->finish(); });
    finish(out, layer, true);
  }
  result.norms = std::move(tuned.norms);
  result.losses = std::move(tuned.losses);
  result.best_iter = tuned.best_iter;
  result.best_loss = tuned.best_loss;
  result.times = tuned.times;
  const double tokens = static_cast<double>(result.losses.size()) * static_cast<double>(task.inputs.size(1)) *
                        static_cast<double>(std::min(options_.tune.batch_size * options_.tune.gradient_accumulate_steps,
                                                     task.inputs.size(0)));
  if (tuned.times.total > 0) result.tokens_per_second = tokens / tuned.times.total;
}

QuantizedHook BlockProcessor::quantized_hook(const std::vector<Layer>& layers, const BlockResult& result) const {
  QuantizedHook hook;
  for (size_t i = 0; i < layers.size(); ++i) {
    const QuantizedLayer& done = result.layers[i];
    hook.replace(layers[i].linear, {.weight = done.dequantized,
                                    .bias = done.bias,
                                    .act_scheme = layers[i].act_scheme,
                                    .act = layers[i].quant().act,
                                    .act_max = done.act_max});
  }
  for (const auto& [name, weight] : result.norms) hook.replace_norm(name, weight);
  return hook;
}

// Reference outputs of all samples into `target`, and what the layers' inputs look like on the way. Static activation
// ranges come from the chain the quantized model will see (docs/spec/signround.md 2).
std::vector<AttentionRanges> BlockProcessor::calibrate(std::vector<Layer>& layers, const BlockForward& forward,
                                                       const at::Tensor& full, const at::Tensor& input,
                                                       const at::Tensor& target, const std::string& what) {
  const int64_t batch = options_.tune.batch_size;
  const bool static_ranges = plan_.attention.quantized() ||
                             std::any_of(layers.begin(), layers.end(), [](const Layer& l) { return l.static_act(); });
  const bool own_ranges = tunes() && options_.enable_quanted_input && static_ranges;
  std::vector<AttentionRanges> attention;
  if (own_ranges) {
    StatisticsHook ranges = watch(layers, false, true);
    AttentionRangeCollector states(ranges, plan_.attention);
    run_samples(forward, input, at::Tensor(), batch, states, what);
    for (Layer& layer : layers) layer.input = ranges.of(layer.linear);
    attention = states.result();
  }
  StatisticsHook statistics = watch(layers, true, !own_ranges);
  AttentionRangeCollector states(statistics, own_ranges ? AttentionQuant() : plan_.attention);
  run_samples(forward, full, target, batch, states, what);
  if (!own_ranges) attention = states.result();
  for (Layer& layer : layers) {
    const at::Tensor act_max = layer.input.act_max;
    layer.input = statistics.of(layer.linear);
    if (own_ranges) layer.input.act_max = act_max;
    check_statistics(layer.input, layer.linear->name);
  }
  fill_act_max(layers);
  return attention;
}

// Experts that saw no token take the largest maximum of the others at the same place (docs/spec/calibration.md 11).
void BlockProcessor::fill_act_max(std::vector<Layer>& layers) {
  const auto place = [](const Layer& layer) { return std::pair(layer.plan->experts, layer.plan->role); };
  std::map<std::pair<std::string, LayerRole>, at::Tensor> largest;
  for (const Layer& layer : layers) {
    if (layer.plan->experts.empty() || !layer.input.act_max.defined()) continue;
    at::Tensor& max = largest[place(layer)];
    max = max.defined() ? at::maximum(max, layer.input.act_max) : layer.input.act_max;
  }
  for (Layer& layer : layers) {
    if (!layer.static_act() || layer.input.act_max.defined()) continue;
    const auto found = largest.find(place(layer));
    if (found != largest.end()) {
      layer.input.act_max = found->second;
    } else {
      reporter_.warn(str("'", layer.plan->name, "' saw no calibration token: its activations have no static scale"));
    }
  }
}

std::vector<std::pair<std::string, at::Tensor>> BlockProcessor::norm_weights(int64_t first, int64_t count,
                                                                             const BlockForward& forward,
                                                                             const at::Tensor& input) const {
  NormCapture capture;
  run_samples(forward, input.narrow(0, 0, 1), at::Tensor(), 1, capture);
  std::vector<std::pair<std::string, at::Tensor>> norms;
  for (int64_t block = first; block < first + count; ++block)
    for (const std::string& name : model_.norm_names(block))
      if (const auto found = capture.seen.find(name); found != capture.seen.end())
        norms.emplace_back(name, found->second);
  return norms;
}

void BlockProcessor::fold(int64_t block, std::span<Linear* const> linears, const BlockForward& forward,
                          const at::Tensor& input) {
  folded_ = {};
  reporter_.activity(str("scaling ", model_.block_name(block)), 0, 1);
  options_.folds->fold(block, linears, forward, input, folded_);
}

// What folding changed is written with the block: norms that tuning has left, biases with their layers, and what is in
// no layer of the plan by itself.
void BlockProcessor::report_folds(std::span<Linear* const> linears, BlockResult& result) const {
  for (const auto& [name, weight] : folded_.norms) result.norms.emplace(name, weight);
  for (QuantizedLayer& layer : result.layers) {
    const auto bias = folded_.biases.find(layer.plan->name);
    if (!layer.bias.defined() && bias != folded_.biases.end()) layer.bias = bias->second;
  }
  for (const Linear* linear : linears) {
    const auto& changed = folded_.layers;
    if (by_name_.contains(linear->name) || std::find(changed.begin(), changed.end(), linear->name) == changed.end())
      continue;
    result.plain.emplace(linear->name + ".weight", linear->weight);
    const auto bias = folded_.biases.find(linear->name);
    if (bias != folded_.biases.end()) result.plain.emplace(linear->name + ".bias", bias->second);
  }
}

// Without transforms one chain is enough, that of the original model; with them it is that of the rounded blocks, since
// scales are chosen for what the quantized model sees.
void BlockProcessor::round_blocks(std::vector<Layer>& layers, const BlockForward& forward, BlockIo& io,
                                  const std::string& what, bool propagate_quantized, BlockResult& result) {
  const bool rounded_chain = options_.folds != nullptr && options_.enable_quanted_input;
  const bool measures = plan_.attention.quantized() || std::any_of(layers.begin(), layers.end(), [&](const Layer& l) {
                          return measures_imatrix(l) || l.static_act();
                        });
  if (io.full.defined() && (!rounded_chain || measures))
    result.attention = calibrate(layers, forward, io.full, io.full, rounded_chain ? at::Tensor() : io.full, what);
  round_layers(layers, rounded_chain, result);
  if (!rounded_chain) return;
  if (propagate_quantized) {
    QuantizedHook hook = quantized_hook(layers, result);
    run_samples(forward, io.full, io.full, options_.tune.batch_size, hook, what);
  }
  if (!options_.want_dequantized)
    for (QuantizedLayer& layer : result.layers) layer.dequantized.reset();
}

BlockResult BlockProcessor::process(int64_t first, int64_t count, BlockIo& io, bool propagate_quantized) {
  const auto start = std::chrono::steady_clock::now();
  std::optional<TensorCacheScope> reuse;
  if (io.full.defined()) reuse.emplace();
  std::vector<Linear*> linears;
  for (int64_t block = first; block < first + count; ++block) {
    model_.load_block(block);
    for (Linear* linear : model_.block_linears(block)) linears.push_back(linear);
  }
  std::vector<Layer> layers = planned(linears);
  BlockResult result;
  const BlockForward forward = forward_of(first, count);
  const int64_t batch = options_.tune.batch_size;
  const bool own_chain = tunes() && options_.enable_quanted_input && io.quantized.defined();
  const at::Tensor input = own_chain ? io.quantized : io.full;
  if (options_.folds != nullptr) {
    ARKIT_CHECK(count == 1, "transforms take one block at a time");
    fold(first, linears, forward, input);
  }
  share_global_scales(layers);

  if (!tunes()) {
    round_blocks(layers, forward, io, model_.block_name(first), propagate_quantized, result);
    report_folds(linears, result);
    result.seconds = seconds_since(start);
    return result;
  }

  ARKIT_CHECK(io.full.defined() && io.full.is_contiguous(), "tuning needs the block's inputs");
  const at::Tensor target = own_chain ? io.full : at::empty_like(io.full);
  result.attention = calibrate(layers, forward, io.full, input, target, model_.block_name(first));

  TuneTask task{.name = model_.block_name(first), .forward = forward, .inputs = input, .targets = target};
  if (options_.tune.enable_norm_bias_tuning) task.norms = norm_weights(first, count, forward, input);
  const std::string what = str("tuning ", task.name);
  task.progress = [&](int64_t done, int64_t total) { reporter_.progress({what, done, total, "steps"}); };
  if (!layers.empty()) tune_layers(layers, std::move(task), result);

  if (options_.enable_quanted_input && propagate_quantized) {
    QuantizedHook hook = quantized_hook(layers, result);
    run_samples(forward, input, input, batch, hook, model_.block_name(first));
    io.quantized = input;
  } else {
    io.quantized.reset();
  }
  io.full = target;
  if (!options_.want_dequantized)
    for (QuantizedLayer& layer : result.layers) layer.dequantized.reset();
  report_folds(linears, result);
  result.seconds = seconds_since(start);
  return result;
}

BlockResult BlockProcessor::process_head(BlockIo& io) {
  const auto start = std::chrono::steady_clock::now();
  const TensorCacheScope reuse;
  BlockResult result;
  Linear* const head = &model_.head();
  std::vector<Layer> layers = planned(std::span(&head, 1));
  if (layers.empty()) return result;
  Layer& layer = layers.front();
  share_global_scales(layers);

  HeadInput capture(*head);  // final norm, in place
  const BlockForward normed = [&](const at::Tensor& hidden, std::span<const int64_t>, BlockHook&) {
    (void)model_.logits(hidden, capture);
    return std::exchange(capture.input, at::Tensor());
  };
  for (const at::Tensor& chain : {io.full, io.quantized})
    if (chain.defined()) run_samples(normed, chain, chain, options_.tune.batch_size, capture, head->name);

  if (io.full.defined()) {
    StatisticsHook statistics = watch(layers, true, true);
    for (int64_t i = 0; i < io.full.size(0); ++i) statistics.see(*head, io.full.narrow(0, i, 1));
    layer.input = statistics.of(head);
    check_statistics(layer.input, head->name);
  }
  if (!tunes() || !io.full.defined()) {
    round_layers(layers, false, result);
    result.seconds = seconds_since(start);
    return result;
  }

  DenseHook dense;
  TuneTask task;
  task.name = head->name;
  task.forward = [head](const at::Tensor& x, std::span<const int64_t>, BlockHook& hook) {
    return hook.linear(*head, x);
  };
  task.inputs = io.quantized.defined() ? io.quantized : io.full;
  task.target = [&](std::span<const int64_t> samples) {
    const at::NoGradGuard no_grad;
    const at::Tensor index = at::tensor(at::IntArrayRef(samples.data(), samples.size()), at::kLong);
    return dense.linear(*head, io.full.index_select(0, index));
  };
  task.count_first_samples = true;
  const std::string what = str("tuning ", head->name);
  task.progress = [&](int64_t done, int64_t total) { reporter_.progress({what, done, total, "steps"}); };
  // One sample at a time: logits are large (docs/spec/signround.md 8).
  options_.tune.gradient_accumulate_steps *= std::exchange(options_.tune.batch_size, 1);
  tune_layers(layers, std::move(task), result);
  io = {};
  if (!options_.want_dequantized) result.layers.front().dequantized.reset();
  result.seconds = seconds_since(start);
  return result;
}

}  // namespace arkit
