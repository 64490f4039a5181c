#include "tuning/collect.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <arkit/error.h>
#include <arkit/log.h>
#include <arkit/str.h>

#include "tuning/gemm.h"
#include "tuning/tuning_kernels.h"
#include "util/finite.h"

namespace arkit {
namespace {

at::Tensor dense_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = weight.size(0);
  return linear_forward(x.reshape({-1, x.size(-1)}).contiguous(), weight, bias).view(sizes);
}

template <typename T>
void squares_of_rows(const at::Tensor& x, int64_t per_task, at::Tensor& partial) {
  const auto* data = static_cast<const T*>(x.const_data_ptr());
  auto* sums = partial.mutable_data_ptr<float>();
  const int64_t rows = x.size(0), width = x.size(1);
  at::parallel_for(0, partial.size(0), 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t first = task * per_task;
      kernels::add_squares(data + first * width, std::min(per_task, rows - first), width, sums + task * width);
    }
  });
}

// Sum of x^2 over tokens: partial sums of 64 rows each, so that f32 keeps its digits and threads do not matter.
at::Tensor sum_of_squares(const at::Tensor& x) {
  constexpr int64_t kRowsPerTask = 64;
  const at::Tensor rows = x.reshape({-1, x.size(-1)}).contiguous();
  const int64_t tasks = (rows.size(0) + kRowsPerTask - 1) / kRowsPerTask;
  at::Tensor partial = at::zeros({tasks, rows.size(1)}, at::kFloat);
  if (rows.scalar_type() == at::kFloat)
    squares_of_rows<float>(rows, kRowsPerTask, partial);
  else
    squares_of_rows<kernels::BFloat16>(rows.to(at::kBFloat16), kRowsPerTask, partial);
  at::Tensor sum = at::zeros({rows.size(1)}, at::kFloat);
  kernels::add_rows(partial.const_data_ptr<float>(), tasks, rows.size(1), sum.mutable_data_ptr<float>());
  return sum;
}

// compressed-tensors' moving average (docs/spec/observers.md 1) over batches, of which the first sets the range.
void average_ranges(InputStatistics& seen, const at::Tensor& x) {
  constexpr double kWeight = 0.01;
  const at::Tensor low = x.min().to(at::kFloat).clamp_max(0), high = x.max().to(at::kFloat).clamp_min(0);
  seen.low = seen.low.defined() ? seen.low.lerp(low, kWeight) : low;
  seen.high = seen.high.defined() ? seen.high.lerp(high, kWeight) : high;
  seen.act_max = at::maximum(seen.low.neg(), seen.high).reshape({1});
}

// Looks for the first layer that gives something that is not finite.
class Suspicion final : public sdk::ForwardingHook {
 public:
  using ForwardingHook::ForwardingHook;
  at::Tensor linear(const Linear& layer, const at::Tensor& x) override {
    at::Tensor y = inner_.linear(layer, x);
    if (culprit.empty() && !io::is_finite(y)) {
      culprit = layer.name;
      input_is_finite = io::is_finite(x);
    }
    return y;
  }
  std::vector<at::Tensor> linears(std::span<const Linear* const> layers, const at::Tensor& x) override {
    return BlockHook::linears(layers, x);
  }
  std::string culprit;
  bool input_is_finite = true;
};

[[noreturn]] void throw_not_finite(const BlockForward& forward, const at::Tensor& in, std::span<const int64_t> samples,
                                   BlockHook& hook, std::string_view what) {
  Suspicion suspicion(hook);
  (void)forward(in, samples, suspicion);
  const std::string where = suspicion.culprit.empty()   ? str("'", what, "': its output")
                            : suspicion.input_is_finite ? str("layer '", suspicion.culprit, "': its output")
                                                        : str("layer '", suspicion.culprit, "': its input");
  throw_input(str(where, " is not finite on calibration samples ", samples.front(), " to ", samples.back(),
                  ", expected finite activations; the weights of this or an earlier layer are too large or damaged"));
}

}  // namespace

bool wants_act_max(const TensorQuant& act) {
  return act.quantized() && (!act.dynamic || act.data_type.find("static") != std::string::npos);
}

at::Tensor DenseHook::linear(const Linear& layer, const at::Tensor& x) {
  if (at::GradMode::is_enabled() || !layer.weight.defined() || layer.weight.scalar_type() != x.scalar_type())
    return BlockHook::linear(layer, x);
  return dense_linear(x, layer.weight, layer.bias);
}

void StatisticsHook::see(const Linear& layer, const at::Tensor& x) {
  const auto found = wanted_.find(&layer);
  if (found == wanted_.end() || x.numel() == 0) return;
  InputStatistics& seen = seen_[&layer];
  seen.count += x.size(0);
  seen.tokens += x.numel() / x.size(-1);
  if (found->second.imatrix) {
    if (!last_input_.is_same(x)) {
      last_input_ = x;
      last_squares_ = sum_of_squares(x);
    }
    seen.imatrix = seen.imatrix.defined() ? seen.imatrix + last_squares_ : last_squares_;
  }
  if (found->second.act_max && found->second.moving) {
    average_ranges(seen, x);
  } else if (found->second.act_max) {
    const at::Tensor largest = x.abs().max().to(at::kFloat).reshape({1});
    seen.act_max = seen.act_max.defined() ? at::maximum(seen.act_max, largest) : largest;
  }
}

at::Tensor StatisticsHook::linear(const Linear& layer, const at::Tensor& x) {
  see(layer, x);
  return DenseHook::linear(layer, x);
}

InputStatistics StatisticsHook::of(const Linear* layer) const {
  const auto found = seen_.find(layer);
  return found == seen_.end() ? InputStatistics{} : found->second;
}

at::Tensor QuantizedHook::linear(const Linear& linear, const at::Tensor& x) {
  const auto found = layers_.find(&linear);
  if (found == layers_.end()) return DenseHook::linear(linear, x);
  const Layer& layer = found->second;
  const at::Tensor input =
      layer.act_scheme == nullptr ? x : layer.act_scheme->fake_quant_act(x, layer.act, layer.act_max);
  return dense_linear(input, layer.weight, layer.bias.defined() ? layer.bias : linear.bias);
}

at::Tensor QuantizedHook::norm_weight(std::string_view name, const at::Tensor& weight) {
  const auto found = norms_.find(name);
  return found == norms_.end() ? weight : found->second;
}

void run_samples(const BlockForward& forward, const at::Tensor& in, const at::Tensor& out, int64_t batch,
                 BlockHook& hook, std::string_view what) {
  const at::NoGradGuard no_grad;
  std::vector<int64_t> samples(static_cast<size_t>(in.size(0)));
  std::iota(samples.begin(), samples.end(), 0);
  for (int64_t first = 0; first < in.size(0); first += batch) {
    throw_if_interrupted();
    const int64_t size = std::min(batch, in.size(0) - first);
    const std::span<const int64_t> chunk = std::span(samples).subspan(first, size);
    const at::Tensor result = forward(in.narrow(0, first, size), chunk, hook);
    if (!io::is_finite(result)) throw_not_finite(forward, in.narrow(0, first, size), chunk, hook, what);
    if (out.defined()) out.narrow(0, first, size).copy_(result);
  }
}

}  // namespace arkit
