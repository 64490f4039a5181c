#include <arkit/plugin.h>

#include "nv_fp4_scheme.h"

ARKIT_PLUGIN("org.arkit.scheme.nv_fp4", "0.1.0", "arkit", "Apache-2.0", "https://github.com/arkit/arkit",
             arkit::component<arkit::Scheme, arkit::nv_fp4::NvFp4Scheme>(
                 "nv_fp4", "E2M1 values, an 8-bit float scale per 16 of them"));
