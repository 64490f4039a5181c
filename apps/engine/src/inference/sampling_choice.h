#pragma once
// From what a user asks for to how tokens are picked.

#include <arkit/engine/jobs.h>
#include <arkit/engine/sampling.h>
#include <arkit/json.h>
#include <arkit/log.h>
#include <arkit/model_source.h>

namespace arkit {

// generation_config.json; empty when the model brings none. Throws ErrorCode::input for a malformed one.
[[nodiscard]] json::Object generation_config_of(const ModelSource& source);

// Throws ErrorCode::usage for values outside their range, for a bias that is no "ID:BIAS" and for what could have no
// effect: choosing among sampled tokens at temperature 0. Warns of a seed without one.
[[nodiscard]] SamplingOptions choose_sampling(const SamplingWishes& wishes, Reporter& reporter);

// What can be said of them before the model is there.
void check_wishes(const SamplingWishes& wishes);

// The same where `model_defaults` asks for what the model says, and `reporter` is told what that is. A model that does
// not say "do_sample": true is greedy, as in transformers. Throws ErrorCode::input for values of other types or outside
// their range.
[[nodiscard]] SamplingOptions choose_sampling(const SamplingWishes& wishes, bool model_defaults,
                                              const ModelSource& source, Reporter& reporter);

}  // namespace arkit
