#pragma once
// How well a model guesses the end of each text: log-likelihood of the last tokens, whether greedy decoding would have
// written them, and how far its distribution is there from a reference's. Runs block by block over many texts of
// different length.

#include <cstdint>
#include <vector>

#include <arkit/log.h>

#include "inference/engine.h"
#include "inference/score_sums.h"

namespace arkit {

struct Continuation {
  std::vector<int64_t> ids;  // context and target
  int64_t target = 0;        // how many at the end are the target: 1 .. ids.size() - 1
};

struct ContinuationScore {
  double log_likelihood = 0.0;  // of the whole target, nats
  bool greedy = false;          // every target token is the likeliest one
};

// One score for each item, in their order. `batch_size` texts of similar length run through a block together.
[[nodiscard]] std::vector<ContinuationScore> score_continuations(Engine& engine, const std::vector<Continuation>& items,
                                                                 int64_t batch_size, Reporter& reporter);

// Over the targets of all items. Both have the same number of tokens.
[[nodiscard]] EvalResult compare_continuations(Engine& model, Engine& reference, const std::vector<Continuation>& items,
                                               int64_t batch_size, Reporter& reporter);

// How often score_continuations computes with every block: 1, or more.
[[nodiscard]] int64_t continuation_passes(const std::vector<Continuation>& items);

}  // namespace arkit
