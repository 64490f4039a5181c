#include "tuning/tune_block.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <deque>
#include <limits>
#include <unordered_map>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <arkit/error.h>
#include <arkit/log.h>
#include <arkit/sdk/block_hooks.h>
#include <arkit/str.h>

#include "tuning/index_sampler.h"
#include "tuning/optimizer.h"
#include "tuning/tuned_linear.h"
#include "tuning/vector_tuning.h"
#include "util/seconds.h"

namespace arkit {
namespace {

// Adds the seconds it lives to a sum.
class Stopwatch {
 public:
  explicit Stopwatch(double& sum) : sum_(sum) {}
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;
  ~Stopwatch() { sum_ += seconds_since(start_); }

 private:
  double& sum_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// A tuned tensor among all: which one, and how the optimizer moves it.
struct Slot {
  TunedParam param;
  at::Tensor best;                       // its value at the best iteration
  const TunedLinear* layer = nullptr;    // set when a tuner computes the gradient
  const Trainable* trainable = nullptr;  // of the tuner
};

void clamp(std::span<Trainable> trainables) {
  for (Trainable& trainable : trainables)
    if (std::isfinite(trainable.low) || std::isfinite(trainable.high))
      trainable.value.clamp_(trainable.low, trainable.high);
}

// Options of one run with batch sizes cut to the samples there are.
struct Batching {
  int64_t samples, batch, per_step;
  bool sum;  // gradients of several chunks are added: the loss is a sum
};

Batching batching(const TuneTask& task, const TuneOptions& options) {
  const int64_t n = task.inputs.size(0);
  const int64_t batch = std::min(options.batch_size, n);
  return {n, batch, std::min(n, batch * options.gradient_accumulate_steps), options.gradient_accumulate_steps != 1};
}

class BlockTuner final : public sdk::PlainHook {
 public:
  BlockTuner(const TuneTask& task, const TuneOptions& options) : task_(task), options_(options) {
    ARKIT_CHECK(task.inputs.defined() && task.inputs.dim() == 3, "tuning needs cached inputs [nsamples, seqlen, in]");
    ARKIT_CHECK(task.targets.defined() || task.target, "tuning needs targets");
    add_layers();
    if (options_.enable_norm_bias_tuning) add_vectors();
    if (options_.enable_minmax_tuning) add_act_scales();
  }

  TuneResult run(PythonRandom& random);

  at::Tensor linear(const Linear& layer, const at::Tensor& x) override;
  at::Tensor norm_weight(std::string_view name, const at::Tensor& weight) override;

 private:
  void add_layers();
  void add_vectors();
  void add_act_scales();
  Slot& add(const at::Tensor& value, double lr);

  void quantize_weights();
  [[nodiscard]] double accumulate(std::span<const int64_t> samples, bool sum);
  [[nodiscard]] double tracked_count(std::span<const int64_t> samples, const Batching& plan) const;
  void keep_best();
  void update(const LinearDecay& decay);
  [[nodiscard]] TuneResult result();

  const TuneTask& task_;
  const TuneOptions& options_;
  std::vector<TunedLinear> layers_;
  std::deque<TunedLinear> others_;  // linears that are not tuned
  std::unordered_map<const Linear*, TunedLinear*> by_linear_;
  std::map<const Linear*, VectorTuning> biases_;
  std::map<std::string, VectorTuning, std::less<>> norms_;
  std::vector<Slot> slots_;
  at::Tensor scratch_, gradient_;  // d loss / d Wq of one layer; d loss / d output
  TuneResult result_;
};

Slot& BlockTuner::add(const at::Tensor& value, double lr) {
  Slot& slot = slots_.emplace_back();
  slot.param.value = value;
  slot.param.lr = static_cast<float>(lr);
  slot.best = value.detach().clone();
  return slot;
}

void BlockTuner::add_layers() {
  layers_.reserve(task_.layers.size());  // slots and autograd keep addresses
  int64_t largest = 0;
  for (const TuneLayer& given : task_.layers) {
    TunedLinear& layer = layers_.emplace_back();
    layer.linear = given.linear;
    layer.quant = given.quant;
    layer.act_scheme = given.act_scheme;
    layer.act_max = given.act_max;
    layer.weight = given.linear->weight;
    by_linear_.emplace(given.linear, &layer);
    if (given.weight_scheme == nullptr) continue;
    layer.tuner = given.weight_scheme->tuner(given.linear->weight, given.quant.weight,
                                             {.enable_minmax_tuning = options_.enable_minmax_tuning,
                                              .enable_alg_ext = options_.enable_alg_ext,
                                              .imatrix = given.imatrix,
                                              .global_scale = given.global_scale});
    layer.weight = at::empty_like(given.linear->weight);
    largest = std::max(largest, layer.weight.numel());
    const LayerRates rates = layer_rates(options_, given.quant.weight.bits);
    for (const Trainable& trainable : layer.tuner->trainables()) {
      Slot& slot = add(trainable.value, trainable.rate == Trainable::Rate::offset ? rates.value : rates.minmax);
      slot.layer = &layer;
      slot.trainable = &trainable;
    }
  }
  scratch_ = at::empty({largest}, at::kFloat);
}

void BlockTuner::add_vectors() {
  for (TunedLinear& layer : layers_) {
    if (!layer.linear->bias.defined()) continue;
    VectorTuning& bias = biases_.emplace(layer.linear, begin_vector_tuning(layer.linear->bias)).first->second;
    bias.v.requires_grad_();
    add(bias.v, layer_rates(options_, layer.quant.weight.bits).value);
  }
  const int bits = layers_.empty() ? 16 : layers_.front().quant.weight.bits;
  for (const auto& [name, weight] : task_.norms) {
    VectorTuning& norm = norms_.emplace(name, begin_vector_tuning(weight)).first->second;
    norm.v.requires_grad_();
    add(norm.v, layer_rates(options_, bits).value);
  }
}

void BlockTuner::add_act_scales() {
  for (TunedLinear& layer : layers_) {
    if (layer.act_scheme == nullptr || layer.quant.act.dynamic || !layer.act_max.defined()) continue;
    layer.act_max_scale = at::ones({1}, at::kFloat).requires_grad_();
    add(layer.act_max_scale, layer_rates(options_, layer.quant.weight.bits).minmax);
  }
}

at::Tensor BlockTuner::linear(const Linear& linear, const at::Tensor& x) {
  auto found = by_linear_.find(&linear);
  if (found == by_linear_.end()) {
    if (linear.weight.scalar_type() != x.scalar_type()) return BlockHook::linear(linear, x);
    // A layer that stays as it is goes through the same products.
    TunedLinear& plain = others_.emplace_back();
    plain.linear = &linear;
    plain.weight = linear.weight;
    found = by_linear_.emplace(&linear, &plain).first;
  }
  const auto bias = biases_.find(&linear);
  return tuned_linear(*found->second, x, bias == biases_.end() ? linear.bias : tuned_vector(bias->second), scratch_);
}

at::Tensor BlockTuner::norm_weight(std::string_view name, const at::Tensor& weight) {
  const auto norm = norms_.find(name);
  return norm == norms_.end() ? weight : tuned_vector(norm->second);
}

void BlockTuner::quantize_weights() {
  const Stopwatch watch(result_.times.quantize);
  const at::NoGradGuard no_grad;
  for (TunedLinear& layer : layers_) {
    layer.touched = false;
    if (layer.act_max_scale.defined()) layer.act_max_scale.clamp_(0.0, 1.0);
    if (layer.tuner == nullptr) continue;
    clamp(layer.tuner->trainables());
    layer.tuner->fake_quant(layer.weight);
  }
}

// Forward and backward of one chunk of samples; returns its loss.
double BlockTuner::accumulate(std::span<const int64_t> samples, bool sum) {
  const at::Tensor index = at::tensor(at::IntArrayRef(samples.data(), samples.size()), at::kLong);
  at::Tensor pred;
  {
    const Stopwatch watch(result_.times.forward);
    pred = task_.forward(task_.inputs.index_select(0, index), samples, *this);
  }
  double loss = 0.0;
  {
    const Stopwatch watch(result_.times.loss);
    const LossSettings settings{.kind = task_.loss, .sum = sum};
    if (task_.targets.defined()) {
      loss = block_loss(pred, task_.targets, task_.loss_mask, samples, settings, gradient_);
    } else {
      const at::Tensor mask = task_.loss_mask.defined() ? task_.loss_mask.index_select(0, index) : at::Tensor();
      std::vector<int64_t> own(samples.size());
      for (size_t i = 0; i < own.size(); ++i) own[i] = static_cast<int64_t>(i);
      loss = block_loss(pred, task_.target(samples), mask, own, settings, gradient_);
    }
  }
  const Stopwatch watch(result_.times.backward);
  if (pred.requires_grad()) pred.backward(gradient_);
  return loss;
}

// What the tracked loss is divided by (docs/spec/signround.md 4, `count`).
double BlockTuner::tracked_count(std::span<const int64_t> samples, const Batching& plan) const {
  double count = 1.0;
  if (task_.loss_mask.defined()) {
    count = 0.0;
    for (size_t i = 0; i < samples.size(); ++i) {
      const int64_t sample = task_.count_first_samples ? static_cast<int64_t>(i) : samples[i];
      count += task_.loss_mask[sample].sum().item<double>();
    }
  } else if (plan.sum) {
    count = static_cast<double>(plan.per_step * task_.inputs[0].numel());
  }
  return std::max(count, 1.0);
}

void BlockTuner::keep_best() {
  const at::NoGradGuard no_grad;
  for (Slot& slot : slots_) slot.best.copy_(slot.param.value);
}

void BlockTuner::update(const LinearDecay& decay) {
  const Stopwatch watch(result_.times.update);
  const at::NoGradGuard no_grad;
  for (Slot& slot : slots_) {
    TunedParam& param = slot.param;
    if (slot.layer != nullptr)
      param.gradient = slot.layer->touched ? slot.trainable->gradient : at::Tensor();
    else
      param.gradient = param.value.grad();
    optimizer_step(param, options_);
    decay.advance(param.lr);
  }
}

TuneResult BlockTuner::result() {
  const at::NoGradGuard no_grad;
  for (Slot& slot : slots_) slot.param.value.copy_(slot.best);
  for (TunedLinear& layer : layers_) {
    LayerTuning& out = result_.layers.emplace_back();
    out.weight = std::move(layer.tuner);
    out.act_max = layer.act_max_scale.defined() ? layer.act_max * layer.act_max_scale : layer.act_max;
    if (const auto bias = biases_.find(layer.linear); bias != biases_.end()) out.bias = tuned_vector(bias->second);
    result_.times.scheme_backward += layer.backward_seconds;
  }
  for (const auto& [name, norm] : norms_) result_.norms.emplace(name, tuned_vector(norm));
  return std::move(result_);
}

TuneResult BlockTuner::run(PythonRandom& random) {
  if (slots_.empty() || options_.iters <= 0) return result();
  const auto start = std::chrono::steady_clock::now();
  const Batching plan = batching(task_, options_);
  IndexSampler sampler(plan.samples, plan.per_step, random);
  LinearDecay decay(options_.iters);
  double best = std::numeric_limits<float>::max();
  for (int64_t iter = 0; iter < options_.iters; ++iter) {
    throw_if_interrupted();
    const std::span<const int64_t> samples = sampler.next();
    const double count = tracked_count(samples, plan);
    double loss = 0.0;
    quantize_weights();
    for (size_t first = 0; first < samples.size(); first += static_cast<size_t>(plan.batch)) {
      const size_t size = std::min(static_cast<size_t>(plan.batch), samples.size() - first);
      loss += accumulate(samples.subspan(first, size), plan.sum) / count;
    }
    if (!std::isfinite(loss))
      throw_input(str("'", task_.name, "': the loss of iteration ", iter, " is ", loss,
                      ", expected a finite number; its weights or scales overflow the compute type, try --amp_dtype "
                      "float32 or another scheme"));
    result_.losses.push_back(loss);
    if (loss < best) {
      best = loss;
      result_.best_iter = iter;
      result_.best_loss = loss;
      if (!options_.not_use_best_mse) keep_best();
    }
    if (options_.not_use_best_mse && iter == options_.iters - 1) keep_best();
    if (!options_.not_use_best_mse && options_.dynamic_max_gap > 0 &&
        iter - result_.best_iter >= options_.dynamic_max_gap)
      break;
    if (iter + 1 < options_.iters) {  // the reference's last step changes nothing it keeps
      update(decay);
      decay.next();
    }
    if (task_.progress) task_.progress(iter + 1, options_.iters);
  }
  result_.times.total = seconds_since(start);
  return result();
}

}  // namespace

TuneResult tune_block(const TuneTask& task, const TuneOptions& options, PythonRandom& random) {
  return BlockTuner(task, options).run(random);
}

}  // namespace arkit
