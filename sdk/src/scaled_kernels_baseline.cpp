#define ARKIT_ISA baseline
#include "scaled_kernels_impl.h"
