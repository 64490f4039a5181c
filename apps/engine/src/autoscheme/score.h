#pragma once
// How much worse the model gets when one layer is quantized, for every layer and every option (ADR 0018 has formulas
// and evidence).

#include <cstdint>
#include <span>
#include <string_view>

#include <ATen/core/Tensor.h>

#include <arkit/export.h>
#include <arkit/log.h>
#include <arkit/model_adapter.h>
#include <arkit/scheme.h>

#include "autoscheme/score_table.h"
#include "quant/scheme_traits.h"

namespace arkit::auto_scheme {

enum class ScoreMode {
  standard,  // "default": divergence from the float model to second order, errors of weights and activations, one pass
  compat,    // "compat": AutoRound 0.16.1's score (docs/spec/auto-scheme.md 5), weight errors, one pass an option
};

// "tuned" starts from the standard scores (tuned_scores.h). Throws ErrorCode::usage for a name that is no mode.
[[nodiscard]] ARKIT_INTERNAL ScoreMode parse_score_mode(std::string_view name);

struct ScoreSettings {
  ScoreMode mode = ScoreMode::standard;
  int64_t batch_size = 1;  // compat: samples whose gradients are added before absolute values are taken
  uint64_t seed = 42;      // standard: of the labels drawn from the model
  double logit_divisor = 1.0, logit_softcap = 0.0;  // standard: see TokenInfo
};

// input_ids int64 [samples, seqlen], seqlen > 1. `pool` may hold layers of blocks, the head and, for the standard score,
// the table that the tokens are looked up in, which is the head as well where the model ties the two.
// Needs memory for one block, its rounding, and what enters every block for all samples. The model is left with nothing
// loaded. Throws ErrorCode::unsupported for layers that are packed already and ErrorCode::input for weights that are
// not finite.
[[nodiscard]] ARKIT_INTERNAL ScoreTable score_options(Model& model, const at::Tensor& input_ids,
                                                      std::span<const PoolLayer> pool,
                                                      std::span<const SchemeOption> options,
                                                      const ScoreSettings& settings, const SchemeFor& scheme_for,
                                                      Reporter& reporter);

}  // namespace arkit::auto_scheme
