#pragma once
// How much of a layer's rounding error tuning leaves (--score tuned, ADR 0020): layers are tuned one by one on their
// own output, with the tuner of the main job, in one pass over the model.

#include <cstdint>
#include <filesystem>
#include <span>

#include <ATen/core/Tensor.h>

#include <arkit/export.h>
#include <arkit/log.h>
#include <arkit/model_adapter.h>

#include "autoscheme/kept_file.h"
#include "autoscheme/score.h"
#include "autoscheme/tuned_scores.h"
#include "tuning/tune_options.h"

namespace arkit::auto_scheme {

struct RatioSettings {
  TuneOptions tune;
  uint64_t seed = 42;  // of labels and of the order of samples

  // A run's options made short: 20 iterations or the run's, fewer, with the rates that go with them and all samples
  // in every step, no norms or biases.
  [[nodiscard]] ARKIT_INTERNAL static RatioSettings of_run(const TuneOptions& run, uint64_t seed);
};

// The ratio for every entry of `wanted`. A layer's error is the squared error of its output for the float model's
// inputs, output channels weighted with their sums of F (score_fisher.h), inputs and weight quantized. Of input_ids
// int64 [samples, seqlen] up to 4096 tokens are taken, evenly spaced samples; the errors are those of every fourth
// piece of a layer's inputs, and it is tuned on the others. An entry's ratio does not depend on what else is wanted. A
// layer that sees fewer than 64 tokens (an expert) has no ratio.
//
// Needs memory for what enters every block, and for one block, the inputs of its wanted layers and the tuning of one
// layer. The model is left with nothing loaded.
[[nodiscard]] ARKIT_INTERNAL TunedRatios tuned_ratios(Model& model, const at::Tensor& input_ids,
                                                      std::span<const PoolLayer> pool,
                                                      std::span<const LayerOption> wanted,
                                                      const RatioSettings& settings, const SchemeFor& scheme_for,
                                                      Reporter& reporter);

// Ratios on disk, beside the scores they belong to.
class ARKIT_INTERNAL RatioCache {
 public:
  // `score_key` as of ScoreCache. `folder` as of KeptFile. `pool` outlives it; `options` = number of them.
  RatioCache(const std::filesystem::path& folder, const std::string& score_key, const RatioSettings& settings,
             std::span<const PoolLayer> pool, size_t options);

  [[nodiscard]] TunedRatios load(Reporter& reporter) const;
  void store(const TunedRatios& ratios, Reporter& reporter) const;

  [[nodiscard]] const std::filesystem::path& file() const noexcept { return kept_.file(); }

 private:
  std::span<const PoolLayer> pool_;
  size_t options_;
  KeptFile kept_;
};

}  // namespace arkit::auto_scheme
