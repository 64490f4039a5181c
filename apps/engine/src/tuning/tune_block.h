#pragma once
// SignRound on one decoder block (or a chain of blocks): signed-gradient descent on rounding offsets and ranges so that
// the block with quantized weights gives the output of the original one (docs/spec/signround.md 3 to 7).

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <arkit/model_adapter.h>
#include <arkit/scheme.h>

#include "tuning/losses.h"
#include "tuning/tune_options.h"
#include "util/python_random.h"

namespace arkit {

// Runs what is tuned on the given calibration samples: hidden [b, seqlen, in] -> [b, seqlen, out]. Every linear and
// norm weight must go through the hook.
using BlockForward =
    std::function<at::Tensor(const at::Tensor& hidden, std::span<const int64_t> samples, BlockHook& hook)>;
// Reference outputs [b, seqlen, out] of samples when they are not kept for all samples (lm_head).
using TargetFunction = std::function<at::Tensor(std::span<const int64_t> samples)>;

struct TuneLayer {
  const Linear* linear = nullptr;  // outlives the call; its weight is read, never changed
  LayerQuant quant;
  const Scheme* weight_scheme = nullptr;  // null = weight stays
  const Scheme* act_scheme = nullptr;     // null = activations stay
  at::Tensor imatrix;                     // f32 [in]; used by enable_alg_ext, may be undefined
  at::Tensor global_scale;                // shared by fused layers, may be undefined
  at::Tensor act_max;                     // for static activations
};

struct TuneTask {
  std::string name;  // of what is tuned, for messages
  BlockForward forward;
  at::Tensor inputs;      // [nsamples, seqlen, in] in the compute dtype
  at::Tensor targets;     // [nsamples, seqlen, out]; undefined = `target` is asked
  TargetFunction target;  // used when targets is undefined
  at::Tensor loss_mask;   // u8 [nsamples, seqlen]; undefined = every position counts
  std::vector<TuneLayer> layers;
  std::vector<std::pair<std::string, at::Tensor>> norms;  // tuned when enable_norm_bias_tuning
  bool count_first_samples = false;  // the tracked loss is divided by the size of the first samples, as for lm_head
  LossKind loss = LossKind::squared_error;
  std::function<void(int64_t done, int64_t total)> progress;  // may be empty
};

// What tuning made of one layer.
struct LayerTuning {
  std::unique_ptr<WeightTuner> weight;  // at the best values found; null = the weight stays
  at::Tensor bias;                      // tuned; undefined = unchanged
  at::Tensor act_max;                   // with its tuned factor
};

// Where the time went, in seconds over all iterations.
struct TuneTimes {
  double quantize = 0, forward = 0, loss = 0, backward = 0, scheme_backward = 0, update = 0, total = 0;
};

struct TuneResult {
  std::vector<LayerTuning> layers;  // as TuneTask::layers
  std::map<std::string, at::Tensor, std::less<>> norms;
  std::vector<double> losses;  // one an iteration
  int64_t best_iter = -1;      // -1 = nothing was tuned
  double best_loss = -1;
  TuneTimes times;
};

// Throws ErrorCode::input naming the task when a loss is not finite.
[[nodiscard]] ARKIT_EXPORT TuneResult tune_block(const TuneTask& task, const TuneOptions& options,
                                                 PythonRandom& random);

}  // namespace arkit
