#pragma once

namespace arkit {

// What of an attention module may have static scales.
enum class AttentionState { query, key, value };

}  // namespace arkit
