#define ARKIT_ISA avx512
#include "scaled_kernels_impl.h"
