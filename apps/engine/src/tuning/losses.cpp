#include "tuning/losses.h"

#include <algorithm>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <arkit/error.h>

#include "tuning/tuning_kernels.h"

namespace arkit {
namespace {

// Rows summed by one task. Fixed, so that the loss does not depend on the number of threads.
constexpr int64_t kRowsPerTask = 64;

struct LossShape {
  int64_t batch, seqlen, width;
  [[nodiscard]] int64_t numel() const { return batch * seqlen * width; }
  [[nodiscard]] int64_t tasks_per_sample() const { return (seqlen + kRowsPerTask - 1) / kRowsPerTask; }
};

// Calls kernel(pred, ref, mask, rows, width, grad) for every task and adds up what it returns.
template <typename T, typename Kernel>
double sum_tasks(const at::Tensor& pred, const at::Tensor& targets, const at::Tensor& mask,
                 std::span<const int64_t> samples, const LossShape& shape, at::Tensor& gradient, Kernel kernel) {
  const auto* p = static_cast<const T*>(pred.const_data_ptr());
  const auto* t = static_cast<const T*>(targets.const_data_ptr());
  const uint8_t* m = mask.defined() ? mask.const_data_ptr<uint8_t>() : nullptr;
  auto* g = static_cast<T*>(gradient.mutable_data_ptr());
  const int64_t per_sample = shape.tasks_per_sample();
  std::vector<double> partial(static_cast<size_t>(shape.batch * per_sample));
  at::parallel_for(0, shape.batch * per_sample, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t b = task / per_sample, first = (task % per_sample) * kRowsPerTask;
      const int64_t rows = std::min(kRowsPerTask, shape.seqlen - first);
      const int64_t here = (b * shape.seqlen + first) * shape.width;
      const int64_t row = samples[static_cast<size_t>(b)] * shape.seqlen + first;
      partial[static_cast<size_t>(task)] =
          kernel(p + here, t + row * shape.width, m == nullptr ? nullptr : m + row, rows, shape.width, g + here);
    }
  });
  double sum = 0.0;
  for (const double part : partial) sum += part;
  return sum;
}

// The value above which |pred - ref| is an outlier: all but the k = max(1, numel / 1000) largest are at most this.
float outlier_limit(const at::Tensor& pred, const at::Tensor& targets, std::span<const int64_t> samples) {
  const at::Tensor rows = at::tensor(at::IntArrayRef(samples.data(), samples.size()), at::kLong);
  const at::Tensor distance = (pred.to(at::kFloat) - targets.index_select(0, rows).to(at::kFloat)).abs_().flatten();
  const int64_t n = distance.numel(), k = std::max<int64_t>(1, n / 1000);
  if (k >= n) return -1.0F;
  auto* d = distance.mutable_data_ptr<float>();
  std::nth_element(d, d + (n - 1 - k), d + n);
  return d[n - 1 - k];
}

template <typename T>
double loss_of(const at::Tensor& pred, const at::Tensor& targets, const at::Tensor& mask,
               std::span<const int64_t> samples, const LossSettings& settings, at::Tensor& gradient) {
  const LossShape shape{pred.size(0), pred.size(1), pred.size(2)};
  const bool outlier_free = settings.kind == LossKind::outlier_free;
  const double count = settings.sum && !outlier_free ? 1.0 : static_cast<double>(shape.numel());
  const auto factor = static_cast<float>(2.0 * kLossScale / count);
  if (!outlier_free)
    return sum_tasks<T>(pred, targets, mask, samples, shape, gradient,
                        [factor](const T* p, const T* t, const uint8_t* m, int64_t rows, int64_t width, T* g) {
                          return kernels::squared_error(p, t, m, rows, width, factor, g);
                        }) /
           count;
  const float limit = outlier_limit(pred, targets, samples);
  return sum_tasks<T>(pred, targets, mask, samples, shape, gradient,
                      [factor, limit](const T* p, const T* t, const uint8_t* m, int64_t rows, int64_t width, T* g) {
                        return kernels::squared_error_below(p, t, m, rows, width, factor, limit, g);
                      }) /
         count;
}

}  // namespace

double block_loss(const at::Tensor& pred, const at::Tensor& targets, const at::Tensor& mask,
                  std::span<const int64_t> samples, const LossSettings& settings, at::Tensor& gradient) {
  const at::NoGradGuard no_grad;
  ARKIT_CHECK(pred.dim() == 3 && targets.dim() == 3, "losses compare [batch, seqlen, width]");
  ARKIT_CHECK(pred.size(1) == targets.size(1) && pred.size(2) == targets.size(2), "output and target differ in shape");
  ARKIT_CHECK(pred.scalar_type() == targets.scalar_type() && targets.is_contiguous(), "target of another layout");
  ARKIT_CHECK(pred.size(0) == static_cast<int64_t>(samples.size()), "one target a sample");
  const at::Tensor dense = pred.detach().contiguous();
  if (!gradient.defined() || gradient.sizes() != pred.sizes()) gradient = at::empty_like(dense);
  if (pred.scalar_type() == at::kFloat) return loss_of<float>(dense, targets, mask, samples, settings, gradient);
  ARKIT_CHECK(pred.scalar_type() == at::kBFloat16, "blocks run in f32 or bf16");
  return loss_of<kernels::BFloat16>(dense, targets, mask, samples, settings, gradient);
}

at::Tensor loss_mask(const at::Tensor& token_ids, std::optional<int64_t> pad_token_id) {
  const at::Tensor ids = token_ids.to(at::kLong).contiguous();
  ARKIT_CHECK(ids.dim() == 2, "token ids are [nsamples, seqlen]");
  const int64_t n = ids.size(0), seqlen = ids.size(1);
  at::Tensor mask = at::ones({n, seqlen}, at::kByte);
  for (int64_t r = 0; r < n; ++r) {
    const int64_t* id = ids.const_data_ptr<int64_t>() + r * seqlen;
    auto* m = mask.mutable_data_ptr<uint8_t>() + r * seqlen;
    if (pad_token_id) {
      for (int64_t i = 0; i < seqlen; ++i) m[i] = id[i] != *pad_token_id;
    } else {
      for (int64_t i = seqlen - 2; i >= 0 && id[i] == id[seqlen - 1]; --i) m[i] = 0;
    }
    if (seqlen > 0) m[seqlen - 1] = 0;
  }
  return mask;
}

}  // namespace arkit
