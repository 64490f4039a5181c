#include "awq_search.h"

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <arkit/error.h>
#include <arkit/sdk/block_hooks.h>
#include <arkit/sdk/channel_scales.h>
#include <arkit/str.h>

#include "awq_kernels.h"

namespace arkit::awq {
namespace {

constexpr int64_t kRowsATask = 64;

at::Tensor rows_of(const at::Tensor& x) {
  return x.reshape({-1, x.size(-1)}).to(at::kFloat).contiguous();
}

// Sum of |x| over rows, 64 at a time, so that float32 keeps its digits and threads do not matter.
at::Tensor sum_of_magnitudes(const at::Tensor& x) {
  const at::Tensor rows = rows_of(x);
  const int64_t width = rows.size(1), tasks = (rows.size(0) + kRowsATask - 1) / kRowsATask;
  at::Tensor partial = at::zeros({tasks, width}, at::kFloat);
  const float* const data = rows.const_data_ptr<float>();
  float* const sums = partial.mutable_data_ptr<float>();
  at::parallel_for(0, tasks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t first = task * kRowsATask;
      add_magnitudes(data + first * width, std::min(kRowsATask, rows.size(0) - first), width, sums + task * width);
    }
  });
  at::Tensor sum = at::zeros({width}, at::kDouble);
  for (int64_t task = 0; task < tasks; ++task) sum += partial[task];
  return sum;
}

template <typename OfRows>
double over_rows(const at::Tensor& rows, const OfRows& of_rows) {
  const int64_t tasks = (rows.size(0) + kRowsATask - 1) / kRowsATask;
  std::vector<double> partial(static_cast<size_t>(tasks));
  at::parallel_for(0, tasks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t first = task * kRowsATask * rows.size(1);
      const int64_t count = std::min(kRowsATask, rows.size(0) - task * kRowsATask) * rows.size(1);
      partial[static_cast<size_t>(task)] = of_rows(first, count);
    }
  });
  double sum = 0.0;
  for (const double part : partial) sum += part;
  return sum;
}

double distance(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor x = rows_of(a), y = rows_of(b);
  const float *left = x.const_data_ptr<float>(), *right = y.const_data_ptr<float>();
  return over_rows(x,
                   [&](int64_t first, int64_t count) { return squared_distance(left + first, right + first, count); });
}

at::Tensor zeros_of(const Linear& layer, const at::Tensor& x) {
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = layer.out_features;
  return at::zeros(sizes, x.options());
}

// `count` of `total`, spread evenly.
std::vector<int64_t> spread(int64_t count, int64_t total) {
  std::vector<int64_t> chosen;
  count = std::min(count, total);
  for (int64_t i = 0; i < count; ++i) chosen.push_back(i * total / count);
  return chosen;
}

}  // namespace

// The original block: sums of inputs, and for the samples of the search what comes out of measured layers.
class Search::Watch final : public sdk::PlainHook {
 public:
  Watch(Seen& seen, const BlockScene& scene, std::span<const ScalePlace> places)
      : seen_(seen), scene_(scene), last_(places.back().into.back()) {
    for (const ScalePlace& place : places) {
      readers_.insert(place.into.front());
      measured_.insert(place.measured);
      const bool alone = place.into.size() == 1 && place.into.front() == place.measured;
      if (alone && !scene.quant(place.measured).act.quantized()) alone_.insert(place.measured);
    }
  }
  void keep(bool outputs) { keeps_ = outputs; }

  at::Tensor linear(const Linear& layer, const at::Tensor& x) override {
    if (readers_.contains(layer.name)) {
      at::Tensor& sum = seen_.magnitudes[layer.name];
      const at::Tensor more = sum_of_magnitudes(x);
      sum = sum.defined() ? sum + more : more;
      seen_.rows[layer.name] += x.numel() / x.size(-1);
    }
    if (!keeps_) return layer.name == last_ ? zeros_of(layer, x) : scene_.product(x, layer.weight, layer.bias);
    at::Tensor y = scene_.product(x, layer.weight, layer.bias);
    if (std::find(seen_.order.begin(), seen_.order.end(), layer.name) == seen_.order.end())
      seen_.order.push_back(layer.name);
    if (measured_.contains(layer.name)) seen_.outputs[layer.name].push_back(y);
    if (alone_.contains(layer.name)) {
      const at::Tensor columns = rows_of(x).t().contiguous();
      at::Tensor& moments = seen_.moments[layer.name];
      const at::Tensor more = scene_.product(columns, columns, {});
      moments = moments.defined() ? moments + more : more;
    }
    return y;
  }

 private:
  Seen& seen_;
  const BlockScene& scene_;
  const std::string last_;  // nothing behind it is looked at
  std::set<std::string, std::less<>> readers_, measured_, alone_;
  bool keeps_ = true;
};

// The block with other weights at one place, up to the measured layer; what does not reach it is not computed.
class Search::Trial final : public sdk::PlainHook {
 public:
  // `weights` undo their scales themselves where `columns` is undefined; else inputs are divided by `columns`.
  Trial(const Seen& seen, const BlockScene& scene, const ScalePlace& place, std::vector<at::Tensor> weights,
        at::Tensor columns, bool skip)
      : seen_(seen), scene_(scene), place_(place), weights_(std::move(weights)), columns_(std::move(columns)) {
    if (!skip) return;
    for (const std::string& name : seen.order) {
      if (name == place.into.front()) break;
      skipped_.insert(name);
      known_ = name;
    }
  }

  at::Tensor linear(const Linear& layer, const at::Tensor& x) override {
    if (layer.name == seen_.order.front()) {  // of the next batch
      ++batches_;
      done_ = false;
    }
    if (layer.name == known_) return seen_.outputs.at(known_)[batches_ - 1];
    if (done_ || skipped_.contains(layer.name)) return zeros_of(layer, x);
    at::Tensor y = computed(layer, x);
    if (layer.name == place_.measured) {
      loss_ += distance(y, seen_.outputs.at(layer.name)[batches_ - 1]);
      done_ = true;
    }
    return y;
  }

  [[nodiscard]] double loss() const { return loss_; }

 private:
  [[nodiscard]] at::Tensor computed(const Linear& layer, const at::Tensor& x) const {
    const auto& into = place_.into;
    const auto found = std::find(into.begin(), into.end(), layer.name);
    if (found == into.end()) return scene_.product(x, layer.weight, layer.bias);
    const at::Tensor& weight = weights_[static_cast<size_t>(found - into.begin())];
    if (!columns_.defined()) return scene_.product(x, weight, layer.bias);
    const at::Tensor scaled = x.div(columns_).to(x.scalar_type());
    return scene_.product(scene_.rounded_input(layer.name, scaled), weight, layer.bias);
  }

  const Seen& seen_;
  const BlockScene& scene_;
  const ScalePlace& place_;
  const std::vector<at::Tensor> weights_;
  const at::Tensor columns_;
  std::set<std::string, std::less<>> skipped_;
  std::string known_;  // the last of the skipped layers: its output is what the residual stream gets
  size_t batches_ = 0;
  bool done_ = false;
  double loss_ = 0.0;
};

void Search::begin(std::span<const ScalePlace> places, const BlockScene& scene) {
  seen_ = {};
  samples_ = spread(settings_.nsamples, scene.num_samples());
  std::vector<int64_t> others;
  for (int64_t i = 0; i < scene.num_samples(); ++i)
    if (!std::binary_search(samples_.begin(), samples_.end(), i)) others.push_back(i);
  Watch watch(seen_, scene, places);
  scene.run(samples_, watch);
  watch.keep(false);
  scene.run(others, watch);
}

// Before a place that reads the residual stream only the last layer's output matters, if the family is one of those
// where it does: the original weights must then give the original output to the last bit.
bool Search::may_skip(const ScalePlace& place, const BlockScene& scene) {
  const auto reader = std::find(seen_.order.begin(), seen_.order.end(), place.into.front());
  if (!place.from_norm || reader == seen_.order.begin() || !seen_.outputs.contains(*std::prev(reader))) return false;
  const auto before = static_cast<size_t>(reader - seen_.order.begin());
  if (const auto known = may_skip_.find(before); known != may_skip_.end()) return known->second;
  std::vector<at::Tensor> weights;
  for (const std::string& layer : place.into) weights.push_back(scene.layer(layer).weight);
  Trial trial(seen_, scene, place, std::move(weights), {}, true);
  scene.run(samples_, trial);
  return may_skip_[before] = trial.loss() == 0.0;
}

double Search::loss(const ScalePlace& place, const at::Tensor& scales, const BlockScene& scene, bool skip) const {
  const at::Tensor columns = sdk::column_scales(place, scales);
  std::vector<at::Tensor> weights;
  for (const std::string& layer : place.into) {
    const at::Tensor& weight = scene.layer(layer).weight;
    weights.push_back(weight.to(at::kFloat).mul(columns).to(weight.scalar_type()));
  }
  weights = scene.rounded(place.into, weights);
  const bool rounds_inputs = std::any_of(place.into.begin(), place.into.end(),
                                         [&](const std::string& layer) { return scene.quant(layer).act.quantized(); });
  if (!rounds_inputs)
    for (at::Tensor& weight : weights) weight = weight.to(at::kFloat).div(columns).to(weight.scalar_type());
  if (const auto moments = seen_.moments.find(place.measured);
      moments != seen_.moments.end() && place.into.size() == 1) {
    const at::Tensor error = weights.front().to(at::kFloat) - scene.layer(place.measured).weight.to(at::kFloat);
    const at::Tensor product = scene.product(error, moments->second, {});
    return dot(error.contiguous().const_data_ptr<float>(), product.const_data_ptr<float>(), error.numel());
  }
  Trial trial(seen_, scene, place, std::move(weights), rounds_inputs ? columns : at::Tensor(), skip);
  scene.run(samples_, trial);
  return trial.loss();
}

ScaleChoice Search::choose(const ScalePlace& place, const BlockScene& scene) {
  const auto sum = seen_.magnitudes.find(place.into.front());
  ARKIT_CHECK(sum != seen_.magnitudes.end(), str("layer '", place.into.front(), "' has seen no sample"));
  const double rows = static_cast<double>(std::max<int64_t>(seen_.rows.at(place.into.front()), 1));
  const at::Tensor activations = channel_means(sum->second.div(rows).to(at::kFloat), place);
  std::vector<at::Tensor> weights;
  int64_t group_size = -1;
  for (const std::string& layer : place.into) {
    weights.push_back(scene.layer(layer).weight);
    if (scene.quant(layer).weight.quantized()) group_size = scene.quant(layer).weight.group_size;
  }
  const at::Tensor used = channel_means(weight_means(weights, group_size), place);

  const bool skip = may_skip(place, scene);
  const Candidate* best = nullptr;
  double least = std::numeric_limits<double>::infinity(), unscaled = 0.0;
  const std::vector<Candidate> all = candidates(activations, used, settings_);
  for (const Candidate& one : all) {
    const double lost = loss(place, one.scales, scene, skip);
    if (&one == &all.front()) unscaled = lost;
    if (!(lost < least)) continue;
    least = lost;
    best = &one;
  }
  if (best == nullptr || best == &all.front()) return {};
  return {best->scales,
          {{"exponent", best->exponent}, {"duo", best->duo}, {"loss_unscaled", unscaled}, {"loss", least}}};
}

}  // namespace arkit::awq
