#pragma once
// SignRound over blocks with coded scales: the scales are those ggml's search finds, an offset a weight decides where it
// rounds to (docs/spec/gguf-rounding.md 4).

#include <memory>

#include <arkit/scheme.h>

#include "ggml_rows.h"

namespace arkit::gguf_k {

// `weight` as quantize() takes it; it outlives the tuner. Throws what quantize() throws.
[[nodiscard]] std::unique_ptr<WeightTuner> make_tuner(const at::Tensor& weight, BlockType type,
                                                      const at::Tensor& importance);

}  // namespace arkit::gguf_k
