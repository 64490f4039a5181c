#include "inference/window_eval.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit {
namespace {

constexpr int64_t kPassTokens = 65536;  // hidden states kept at once: 150 MB for a hidden size of 576 in f32
constexpr int64_t kRowElements = int64_t{1} << 23;  // logits kept at once: 32 MB in f32

// Last hidden states of `windows`, [count * (seqlen - 1), hidden]: the last position predicts nothing that is scored.
at::Tensor run_blocks(Engine& engine, const at::Tensor& windows, int64_t batch_size, const char* label,
                      Reporter& reporter) {
  Model& model = engine.model();
  const int64_t count = windows.size(0), seqlen = windows.size(1), blocks = model.num_blocks();
  model.load_rest();
  at::Tensor hidden = model.embed(windows);
  for (int64_t block = 0; block < blocks; ++block) {
    throw_if_interrupted();
    engine.load_block(block);
    for (int64_t first = 0; first < count; first += batch_size) {
      const int64_t rows = std::min(batch_size, count - first);
      at::Tensor batch = hidden.narrow(0, first, rows);
      const ForwardContext context = model.context(rows, seqlen, {}, {}, nullptr);
      batch.copy_(engine.run_block(block, batch, context));
    }
    engine.release_block(block);
    reporter.activity(label, block + 1, blocks);
  }
  return hidden.narrow(1, 0, seqlen - 1).reshape({count * (seqlen - 1), hidden.size(2)});
}

class Accumulator {
 public:
  // Log-probabilities [rows, vocab] of a slice and the tokens that came.
  static double nll(const at::Tensor& log_probs, const at::Tensor& targets) {
    return -log_probs.gather(1, targets.unsqueeze(1)).sum(at::kDouble).item<double>();
  }
  void compare(const at::Tensor& reference, const at::Tensor& model) {
    const at::Tensor kl = (reference.exp() * (reference - model)).sum(1).contiguous();
    const float* values = kl.const_data_ptr<float>();
    kl_.insert(kl_.end(), values, values + kl.numel());
    agree_ += reference.argmax(1).eq(model.argmax(1)).sum().item<int64_t>();
  }
  Divergence divergence() {
    Divergence out;
    const double count = static_cast<double>(kl_.size());
    for (const float kl : kl_) out.mean_kl += static_cast<double>(kl) / count;
    const size_t at = static_cast<size_t>(0.99 * (count - 1));
    std::nth_element(kl_.begin(), kl_.begin() + static_cast<std::ptrdiff_t>(at), kl_.end());
    out.p99_kl = static_cast<double>(kl_[at]);
    out.top1_agreement = static_cast<double>(agree_) / count;
    return out;
  }

 private:
  std::vector<float> kl_;  // one a scored token
  int64_t agree_ = 0;
};

at::Tensor log_probs(Engine& engine, const at::Tensor& hidden) {
  return engine.logits(hidden).to(at::kFloat).log_softmax(-1);
}

void finish(WindowScore& score) {
  score.nll /= static_cast<double>(score.tokens);
  if (!std::isfinite(score.nll))
    throw Error(ErrorCode::verification, "the model's logits are not finite; its weights or scales are damaged");
}

}  // namespace

EvalResult evaluate_windows(Engine& model, Engine* reference, const at::Tensor& windows, int64_t batch_size,
                            Reporter& reporter) {
  const c10::NoGradGuard no_grad;
  const int64_t seqlen = windows.size(1), vocab = model.model().vocab_size();
  if (seqlen > model.model().max_positions())
    throw_usage(str("seqlen ", seqlen, " exceeds the model's ", model.model().max_positions(), " positions"));
  if (reference != nullptr && reference->model().vocab_size() != vocab)
    throw_input(str("the reference model has ", reference->model().vocab_size(), " tokens, the model ", vocab));
  EvalResult result;
  Accumulator accumulator;
  if (reference != nullptr) result.reference.emplace();
  const int64_t pass = std::max<int64_t>(1, kPassTokens / seqlen), slice = std::max<int64_t>(1, kRowElements / vocab);
  for (int64_t first = 0; first < windows.size(0); first += pass) {
    const at::Tensor chunk = windows.narrow(0, first, std::min(pass, windows.size(0) - first));
    const at::Tensor targets = chunk.narrow(1, 1, seqlen - 1).reshape({-1});
    const at::Tensor hidden = run_blocks(model, chunk, batch_size, "model", reporter);
    const at::Tensor reference_hidden =
        reference == nullptr ? at::Tensor() : run_blocks(*reference, chunk, batch_size, "reference", reporter);
    for (int64_t row = 0; row < targets.size(0); row += slice) {
      throw_if_interrupted();
      const int64_t rows = std::min(slice, targets.size(0) - row);
      const at::Tensor wanted = targets.narrow(0, row, rows);
      const at::Tensor mine = log_probs(model, hidden.narrow(0, row, rows));
      result.model.nll += Accumulator::nll(mine, wanted);
      result.model.tokens += rows;
      if (reference == nullptr) continue;
      const at::Tensor theirs = log_probs(*reference, reference_hidden.narrow(0, row, rows));
      result.reference->nll += Accumulator::nll(theirs, wanted);
      result.reference->tokens += rows;
      accumulator.compare(theirs, mine);
    }
  }
  finish(result.model);
  if (result.reference) {
    finish(*result.reference);
    result.divergence = accumulator.divergence();
  }
  return result;
}

}  // namespace arkit
