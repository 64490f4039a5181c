#pragma once
// Experts that no calibration token reached have no score of their own (docs/spec/auto-scheme.md 7). No LibTorch here.

#include <span>

#include <arkit/export.h>

#include "autoscheme/score_table.h"

namespace arkit::auto_scheme {

// Gives every layer of such an expert, for each option that quantizes it, what the experts of its block that did see
// tokens lose on average: the mean over those experts of the mean of their layers' losses.
ARKIT_INTERNAL void fill_inactive_experts(std::span<const PoolLayer> pool, ScoreTable& table);

}  // namespace arkit::auto_scheme
