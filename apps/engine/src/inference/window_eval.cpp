#include "inference/window_eval.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <arkit/error.h>
#include <arkit/str.h>

#include "inference/row_scores.h"
#include "inference/whole_windows.h"
#include "util/tensor_cache.h"

namespace arkit {
namespace {

constexpr int64_t kPassTokens = 65536;  // hidden states kept at once: 150 MB for a hidden size of 576 in f32

int64_t windows_of_a_pass(int64_t seqlen) {
  return std::max<int64_t>(1, kPassTokens / seqlen);
}

// Last hidden states of `windows`, [count * (seqlen - 1), hidden]: the last position predicts nothing that is scored.
at::Tensor run_blocks(Engine& engine, const at::Tensor& windows, int64_t batch_size, const char* label,
                      Reporter& reporter) {
  Model& model = engine.model();
  const int64_t count = windows.size(0), seqlen = windows.size(1), blocks = model.num_blocks();
  engine.load_rest();
  at::Tensor hidden = model.embed(windows);
  for (int64_t block = 0; block < blocks; ++block) {
    throw_if_interrupted();
    engine.load_block(block);
    for (int64_t first = 0; first < count; first += batch_size) {
      const int64_t rows = std::min(batch_size, count - first);
      at::Tensor batch = hidden.narrow(0, first, rows);
      if (run_whole_windows(engine, block, batch)) continue;
      const ForwardContext context = model.context(rows, seqlen, {}, {}, {});
      batch.copy_(engine.run_block(block, batch, context));
    }
    engine.release_block(block);
    reporter.progress({label, block + 1, blocks, "blocks"});
  }
  return hidden.narrow(1, 0, seqlen - 1).reshape({count * (seqlen - 1), hidden.size(2)});
}

}  // namespace

int64_t window_passes(const at::Tensor& windows) {
  const int64_t pass = windows_of_a_pass(windows.size(1));
  return (windows.size(0) + pass - 1) / pass;
}

void check_comparable(const Engine& model, const Engine& reference) {
  const int64_t mine = model.model().vocab_size(), theirs = reference.model().vocab_size();
  if (mine != theirs)
    throw_input(str("the reference model has ", theirs, " tokens, the model ", mine,
                    "; a distance is one of distributions over the same tokens"));
}

EvalResult evaluate_windows(Engine& model, Engine* reference, const at::Tensor& windows, int64_t batch_size,
                            Reporter& reporter) {
  const c10::NoGradGuard no_grad;
  const int64_t seqlen = windows.size(1);
  if (seqlen > model.model().max_positions())
    throw_usage(str("seqlen ", seqlen, " exceeds the model's ", model.model().max_positions(), " positions"));
  if (reference != nullptr) check_comparable(model, *reference);
  const TensorCacheScope reuse;
  ScoreSums sums;
  const int64_t pass = windows_of_a_pass(seqlen);
  for (int64_t first = 0; first < windows.size(0); first += pass) {
    const at::Tensor chunk = windows.narrow(0, first, std::min(pass, windows.size(0) - first));
    const at::Tensor targets = chunk.narrow(1, 1, seqlen - 1).reshape({-1});
    const at::Tensor hidden = run_blocks(model, chunk, batch_size, "model", reporter);
    const at::Tensor reference_hidden =
        reference == nullptr ? at::Tensor() : run_blocks(*reference, chunk, batch_size, "reference", reporter);
    sums.add(score_rows(model, hidden, reference, reference_hidden, targets));
  }
  return sums.result();
}

}  // namespace arkit
