#pragma once
// One forward and one backward through the model over calibration samples, with one block resident at a time: the
// forward keeps what enters each block, the backward computes each block once more and takes its gradient apart
// (docs/spec/auto-scheme.md 7). What is looked at on the way is the score's business.

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include <arkit/log.h>
#include <arkit/model_adapter.h>

#include "autoscheme/score_linear.h"
#include "tuning/context_cache.h"

namespace arkit::auto_scheme {

inline constexpr int64_t kBatchTokens = 1024;  // that go through a block together

enum class Labels {
  next_token,  // the samples' own tokens; loss = mean cross entropy of a batch
  sampled,     // drawn from the model's distribution, one for every position; loss = sum of cross entropies
};

struct PassSettings {
  Labels labels = Labels::sampled;
  int64_t batch_size = 1;                  // samples that go through a block together
  at::ScalarType kept_dtype = at::kFloat;  // of what enters the blocks, while it is kept
  uint64_t seed = 42;                      // of sampled labels
};

// What a score does on the way. Blocks come first to last in the forward, last to first in the backward; each is loaded
// when its functions are called.
class PassWork {
 public:
  virtual ~PassWork() = default;
  virtual BlockHook& forward_hook(int64_t block) = 0;
  virtual ReplayHook& replay_hook(int64_t block) = 0;
  virtual void replayed(int64_t block) = 0;  // all batches are through
  // At last: d loss / d what enters the first block, [samples, seqlen, hidden]. Nothing is loaded.
  virtual void embedded(const at::Tensor& /*gradient*/) {}
  // The head, between forward and backward; its block is -1 in both calls.
  static constexpr int64_t kHead = -1;
};

class ScorePass {
 public:
  // input_ids int64 [samples, seqlen]. `model` and `reporter` outlive the pass.
  ScorePass(Model& model, at::Tensor input_ids, const PassSettings& settings, Reporter& reporter);

  // Leaves no block loaded. `label` says what progress is reported for.
  void run(PassWork& work, const char* label);

 private:
  void forward(PassWork& work);
  void head(PassWork& work);
  void backward(PassWork& work);
  void head_batch(int64_t first, int64_t count, ReplayHook& hook, class LabelSource& labels);
  void step(int64_t done);

  Model& model_;
  at::Tensor input_ids_;
  PassSettings settings_;
  Reporter& reporter_;
  const char* label_ = "";
  ContextCache contexts_;
  std::vector<at::Tensor> inputs_;  // by block, then what enters the head: [samples, seqlen, hidden]
  at::Tensor gradient_;             // d loss / d output of the block at hand, like inputs_ in the compute dtype
};

}  // namespace arkit::auto_scheme
