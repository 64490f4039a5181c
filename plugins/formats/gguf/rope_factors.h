#pragma once
// The parameters of llama3 rope scaling, found again from the tensor of factors that GGUF stores in their place.

#include <span>
#include <string_view>

#include <arkit/json.h>

namespace arkit::gguf {

struct HyperParameters;

// rope_scaling of config.json whose factors are `factors` (rope_freqs.weight), or JSON null when all are 1. Throws
// ErrorCode::unsupported when no llama3 scaling gives them.
[[nodiscard]] json::Value llama3_rope_scaling(std::span<const float> factors, const HyperParameters& parameters,
                                              std::string_view file);

}  // namespace arkit::gguf
