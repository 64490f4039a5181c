#pragma once
// Rotations as AutoRound writes and reads them (docs/spec/rotations.md 6): all its words for them are here.

#include <optional>
#include <string_view>

#include <arkit/json.h>
#include <arkit/model_source.h>
#include <arkit/sdk/packed_folder.h>

namespace arkit::auto_round {

// From the members rotation_config and spinquant_config of quantization_config; nothing when it has neither. Throws
// ErrorCode::input for fields no rotation can have, ErrorCode::unsupported for a kind that is not rebuilt here.
[[nodiscard]] std::optional<sdk::PackedRotations> read_rotations(const json::Object& quantization,
                                                                 const ModelSource& folder);

// The member that read_rotations reads, for a source that needs rotations at run time.
void write_rotations(const ModelSource& source, json::Object& quantization);

// Tensors beside those of a packed layer, by suffix; empty for a layer whose input stays as it is.
[[nodiscard]] TensorMap rotation_tensors(const ModelSource& source, std::string_view layer);

}  // namespace arkit::auto_round
