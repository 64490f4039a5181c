#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "inference/engine.h"

namespace arkit {

// What a block that a backend takes whole makes of windows [count, seqlen, hidden_size], through a cache of keys and
// values as generation has it. False, and nothing is done, where it is not one; see Engine::use_whole_blocks.
[[nodiscard]] bool run_whole_windows(const Engine& engine, int64_t block, at::Tensor& windows);

}  // namespace arkit
