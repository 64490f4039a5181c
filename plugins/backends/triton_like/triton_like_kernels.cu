// Device code of triton_like_kernels.h; nvcc makes a fat binary of it, which the plugin carries and the driver loads.
#include "triton_like_kernels.h"
