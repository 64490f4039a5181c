// Device code of marlin_kernels.h; nvcc makes a fat binary of it, which the plugin carries and the driver loads.
#include "marlin_kernels.h"
