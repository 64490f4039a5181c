#pragma once
// --dataset self: the model writes its own calibration samples (after LLM-QAT, Liu et al. 2023), so that quantization
// needs neither a download nor somebody else's text.
//
// Every row begins with BOS; every second one (every one without a BOS) goes on with a random ordinary token, which
// spreads the topics. The rest is sampled at temperature 1 from the top_k tokens that make up top_p of the probability:
// close enough to the model's own distribution to show its activations, without the tail in which small models get
// lost. After EOS a new document begins in the same row, so that rows are full. The choice at (row, position) depends
// on seed, row and position only, not on threads or batches, and logits are computed in a FixedOrder: the same model
// writes the same samples on every machine (ADR 0021; families outside the sdk must keep to the order themselves).

#include <cstdint>
#include <functional>

#include <ATen/core/Tensor.h>

#include <arkit/engine/tokenizer.h>
#include <arkit/export.h>
#include <arkit/log.h>
#include <arkit/model_adapter.h>

namespace arkit::calibration {

struct SelfOptions {
  int64_t nsamples = 128;
  int64_t seqlen = 2048;
  uint64_t seed = 42;
  double temperature = 1.0;
  double top_p = 0.98;
  int64_t top_k = 100;
  int64_t max_cache_bytes = int64_t{384} << 20;  // rows are written in batches whose keys and values fit this
};

// int64 [nsamples, seqlen]. `model` is open in f32. Loads all of it and releases it again. `tokenizer` tells BOS,
// EOS and which tokens are ordinary; null = random first tokens and no document ends. Throws ErrorCode::usage when
// seqlen is longer than the model can see.
[[nodiscard]] ARKIT_EXPORT at::Tensor write_self_samples(const SelfOptions& options, Model& model,
                                                         const Tokenizer* tokenizer, Reporter& reporter);

}  // namespace arkit::calibration
