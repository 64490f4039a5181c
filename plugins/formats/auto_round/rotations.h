#pragma once
// The rotations an AutoRound checkpoint records (docs/spec/rotations.md 6), as arkit applies them.

#include <arkit/json.h>
#include <arkit/sdk/packed_folder.h>

namespace arkit::auto_round {

// From the members rotation_config and spinquant_config of quantization_config; nothing when it has neither. Throws
// ErrorCode::input for fields no rotation can have, ErrorCode::unsupported for a kind that is not rebuilt here.
[[nodiscard]] sdk::PackedRotations read_rotations(const json::Object& quantization, const ModelSource& folder);

}  // namespace arkit::auto_round
