#include <arkit/plugin.h>

#include "fp8_int_scheme.h"
#include "int_scheme.h"

ARKIT_PLUGIN("org.arkit.scheme.int", "0.1.0", "arkit", "Apache-2.0", "https://github.com/arkit/arkit",
             arkit::component<arkit::Scheme, arkit::int_scheme::IntScheme>(
                 "int", "integers of 2 to 8 bits, one scale per group"),
             arkit::component<arkit::Scheme, arkit::int_scheme::Fp8IntScheme>(
                 "fp8_int", "8-bit floats rounded to integers, one scale per group"));
