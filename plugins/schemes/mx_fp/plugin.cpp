#include <arkit/plugin.h>

#include "mx_fp_scheme.h"

ARKIT_PLUGIN("org.arkit.scheme.mx_fp", "0.1.0", "arkit", "Apache-2.0", "https://github.com/arkit/arkit",
             arkit::component<arkit::Scheme, arkit::mx_fp::MxFpScheme>("mx_fp",
                                                                       "microscaling floats of 4, 6 and 8 bits"));
