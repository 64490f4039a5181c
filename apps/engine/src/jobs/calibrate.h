#pragma once
// The calibration step of a run: from --dataset to what enters the first block.

#include <ATen/core/Tensor.h>

#include <arkit/engine/jobs.h>
#include <arkit/json.h>
#include <arkit/log.h>
#include <arkit/model_adapter.h>
#include <arkit/model_source.h>

#include "calibration/calibration.h"
#include "quant/recipes.h"

namespace arkit {

struct Calibration {
  at::Tensor hidden;     // [nsamples, seqlen, hidden] in the model's dtype: embedded samples
  at::Tensor loss_mask;  // u8 [nsamples, seqlen], 0 where the loss does not look (docs/spec/signround.md 6)
  json::Object report;   // counts and hashes for arkit-run.json
};

// seqlen no longer than the model's and the tokenizer's limits; each cut is warned about (docs/spec/calibration.md 8).
[[nodiscard]] ResolvedTuning fit_to_model(ResolvedTuning tuning, const ModelLayout& layout, const ModelSource& source,
                                          Reporter& reporter);

struct Samples {
  calibration::CalibrationSet set;
  std::optional<int64_t> pad_id;  // of the model's tokenizer
};

// Reads or generates tuning.nsamples x tuning.seqlen token ids. Throws as calibrate does.
[[nodiscard]] Samples read_samples(const QuantizeOptions& options, const ResolvedTuning& tuning,
                                   const ModelSource& source, const Model& model, const Registry& registry,
                                   Reporter& reporter);

// Can they be had? Reads as much as one of them takes; the model's own are taken for granted. Throws as calibrate does.
void check_samples(const QuantizeOptions& options, ResolvedTuning tuning, const ModelSource& source,
                   const ModelLayout& layout, Reporter& reporter);

// Reads or generates the samples and embeds them. Throws ErrorCode::usage when no dataset was named and the default
// cannot be had, and suggests `--dataset self`.
[[nodiscard]] Calibration calibrate(const QuantizeOptions& options, const ResolvedTuning& tuning,
                                    const ModelSource& source, Model& model, const Registry& registry,
                                    Reporter& reporter);

}  // namespace arkit
