#define ARKIT_ISA baseline
#include "int_kernels_impl.h"
