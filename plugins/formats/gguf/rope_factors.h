#pragma once
// The parameters of llama3 rope scaling, found again from the tensor of factors that GGUF stores in their place.

#include <span>
#include <string_view>
#include <vector>

#include <arkit/json.h>
#include <arkit/model_layout.h>

namespace arkit::gguf {

struct HyperParameters;

// rope_scaling of config.json whose factors are `factors` (rope_freqs.weight), or JSON null when all are 1. Throws
// ErrorCode::unsupported when no llama3 scaling gives them.
[[nodiscard]] json::Value llama3_rope_scaling(std::span<const float> factors, const HyperParameters& parameters,
                                              std::string_view file);

// The other way: rope_freqs.weight of a rope of type llama3, f32 [dim / 2].
[[nodiscard]] std::vector<float> llama3_factors(const Rope& rope);

}  // namespace arkit::gguf
