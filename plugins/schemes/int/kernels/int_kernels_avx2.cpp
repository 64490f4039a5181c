#define ARKIT_ISA avx2
#include "int_kernels_impl.h"
