#pragma once
// SignRound over blocks with coded scales: the scales are those a search finds, an offset a weight decides where it
// rounds to (docs/spec/gguf-rounding.md 6).

#include <memory>

#include <arkit/scheme.h>

#include "block_rows.h"

namespace arkit::gguf_k {

// `weight` as quantize() takes it; it outlives the tuner. Throws what quantize() throws.
[[nodiscard]] std::unique_ptr<WeightTuner> make_tuner(const at::Tensor& weight, BlockType type,
                                                      const at::Tensor& importance, Search search);

}  // namespace arkit::gguf_k
