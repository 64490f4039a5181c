#include <arkit/plugin.h>

#include "fp8_scheme.h"

ARKIT_PLUGIN("org.arkit.scheme.fp8", "0.1.0", "arkit", "Apache-2.0", "https://github.com/arkit/arkit",
             arkit::component<arkit::Scheme, arkit::fp8::Fp8Scheme>(
                 "fp8", "8-bit floats with a scale per tensor, channel, group or block"));
