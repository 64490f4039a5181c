#pragma once

#include "kernels/kernels.h"

namespace arkit::ark::tests {

// Kernels::multiply as the AMX kernels do it, with tiles in plain C++; needs AVX2.
void multiply_emulated(const Weight& weight, int64_t panel, const Activations& x, int64_t rows, float* y,
                       uint8_t* scratch);

}  // namespace arkit::ark::tests
