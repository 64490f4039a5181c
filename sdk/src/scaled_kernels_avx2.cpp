#define ARKIT_ISA avx2
#include "scaled_kernels_impl.h"
