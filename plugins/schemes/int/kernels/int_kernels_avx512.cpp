#define ARKIT_ISA avx512
#include "int_kernels_impl.h"
