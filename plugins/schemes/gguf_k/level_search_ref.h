#pragma once
// Blocks whose codes are places in a table, one group after the other (docs/spec/gguf-rounding.md 3): the judge of
// level_lanes.h.

#include "ggml_searches.h"

namespace arkit::gguf_k {

void peaks_ref(const float* x, int64_t groups, int32_t group, float* peaks);
void e2m1_ref(const LevelRun& run);
void trits_ref(const LevelRun& run);
void scale_bytes_ref(const ByteRun& run);

}  // namespace arkit::gguf_k
