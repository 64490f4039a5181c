#include "autoscheme/score_labels.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "autoscheme/score_kernels.h"

namespace arkit::auto_scheme {

at::Tensor LabelSource::gradient(const at::Tensor& logits, const at::Tensor& ids, int64_t first, int64_t seqlen,
                                 int64_t counted) {
  const at::NoGradGuard no_grad;
  constexpr double kUnit = 0x1p-53;
  at::Tensor p = logits.detach().to(at::kFloat).softmax(-1);
  const int64_t rows = p.size(0), vocab = p.size(1);
  auto* values = p.mutable_data_ptr<float>();
  const auto* tokens = ids.const_data_ptr<int64_t>();
  for (int64_t row = 0; row < rows; ++row) {
    float* mine = values + row * vocab;
    if (kind_ == Labels::sampled) {
      mine[kernels::pick_index(mine, vocab, static_cast<double>(random_() >> 11U) * kUnit)] -= 1.0F;
      continue;
    }
    const int64_t position = first + row;
    if ((position + 1) % seqlen == 0) {
      p[row].zero_();
    } else {
      mine[tokens[position + 1]] -= 1.0F;
    }
  }
  if (kind_ == Labels::next_token) p.div_(static_cast<double>(counted));
  return p.to(logits.scalar_type());
}

}  // namespace arkit::auto_scheme
