#pragma once
// One optimizer step over tensors of tuned parameters: sign SGD, with momentum, or Adam (docs/spec/signround.md 5).

#include <ATen/core/Tensor.h>

#include <arkit/export.h>

#include "tuning/tune_options.h"

namespace arkit {

// A tuned tensor (f32, contiguous) with its gradient of this iteration and the optimizer's state for it.
struct TunedParam {
  at::Tensor value;
  at::Tensor gradient;  // undefined = nothing reached it in this iteration, it stays
  float lr = 0.0F;      // of this iteration
  at::Tensor first, second;
  int64_t steps = 0;
};

// Updates param.value, then zeroes param.gradient in the same pass. State tensors appear when they are needed.
ARKIT_EXPORT void optimizer_step(TunedParam& param, const TuneOptions& options);

}  // namespace arkit
