#pragma once
// Token by token generation from several prompts at once, each a sequence of its own length.

#include <cstdint>
#include <functional>
#include <vector>

#include <arkit/engine/session.h>
#include <arkit/log.h>

#include "inference/engine.h"
#include "inference/sampler.h"

namespace arkit {

struct GenerationRequest {
  std::vector<std::vector<int64_t>> prompts;  // token ids; none empty
  int64_t max_new_tokens = 64;
  std::vector<int64_t> stop_ids;  // a row ends after one of these; it is part of the result
  SamplingOptions sampling;
  // Given every new token of a row, the last one too; false = the row ends with it. Empty = nobody asks.
  std::function<bool(size_t row, const SessionToken& token)> goes_on = {};
  bool shows_progress = true;
};

struct GenerationResult {
  std::vector<std::vector<int64_t>> tokens;  // new ones, a row for each prompt
  double prompt_seconds = 0, decode_seconds = 0;
  // Tokens made in decode_seconds, all rows together (the first of each row comes with the prompt).
  int64_t decoded = 0;
};

// Needs engine.load_all(). A row ends early after a stop token or when the model's positions are used up. Throws
// ErrorCode::usage for an impossible request, Error{interrupted} between tokens.
[[nodiscard]] GenerationResult generate_tokens(Engine& engine, const GenerationRequest& request, Reporter& reporter);

// eos_token_id of generation_config.json, else of config.json: a number or a list. Empty when neither has one.
[[nodiscard]] std::vector<int64_t> stop_ids_of(const ModelSource& source);

}  // namespace arkit
