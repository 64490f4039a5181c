#pragma once
// Where two config.json files describe different models.

#include <arkit/export.h>
#include <arkit/json.h>

namespace arkit {

// [{"key", "a", "b"}, ...] in the order of keys; a member that is absent or null shows as null. Left out is what says
// how the weights are stored (quantization_config, dtype), which tool wrote the file, and the two spellings of RoPE's
// parameters: those of rope_parameters count as members beside it.
[[nodiscard]] ARKIT_INTERNAL json::Array config_difference(const json::Object& a, const json::Object& b);

}  // namespace arkit
