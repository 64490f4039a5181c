#pragma once
// Recipes: named sets of tuning defaults with AutoRound's numbers (docs/spec/schemes.md 9). A recipe's value applies
// where the user gave none.

#include <span>
#include <string_view>

#include <arkit/descriptors.h>
#include <arkit/engine/jobs.h>
#include <arkit/export.h>

namespace arkit {

struct Recipe {
  std::string_view name, summary;
  int64_t batch_size, iters, seqlen, nsamples;
  double lr;                            // 0 = 1 / iters
  std::optional<bool> disable_opt_rtn;  // unset = decided by the scheme
};

[[nodiscard]] ARKIT_INTERNAL std::span<const Recipe> recipes();

// Every tuning value decided: what the run will use and what arkit-run.json records.
struct ResolvedTuning {
  int64_t iters = 200, nsamples = 128, seqlen = 2048, batch_size = 8;
  double lr = 0.0, minmax_lr = 0.0;  // 0 = by the rule 1 / iters (2 / iters for <= 3 bits at >= 1000 iters)
  std::optional<bool> disable_opt_rtn;
  bool enable_alg_ext = false, not_use_best_mse = false;
  int64_t nblocks = 1;    // decoder blocks tuned together
  TuningOptions options;  // the rest as given
};

// `calibrates`: the run has transforms or formats that need samples; a recipe that needs none has the usual number of
// them.
// Throws ErrorCode::unsupported for an unknown recipe, ErrorCode::usage for values out of range.
[[nodiscard]] ARKIT_INTERNAL ResolvedTuning resolve_tuning(std::string_view recipe, const TuningOptions& options,
                                                           bool calibrates = false);

// What a recipe decides only when the scheme is known, where the user has not: `best` tunes integers of 2 and 3 bits
// two blocks at a time, with the initial scale search and its loss (enable_alg_ext), and keeps the last iteration's
// parameters (ADR 0036). `integers`: the scheme's codes lie on an integer grid (SchemeTraits). `transforms`: the run has
// some, which take one block at a time.
ARKIT_INTERNAL void decide_for_bits(ResolvedTuning& tuning, std::string_view recipe, const TensorQuant& weight,
                                    bool integers, bool transforms = false);

}  // namespace arkit
