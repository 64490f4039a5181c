#include <arkit/plugin.h>

#include "mx_int_scheme.h"

ARKIT_PLUGIN("org.arkit.scheme.mx_int", "0.1.0", "arkit", "Apache-2.0", "https://github.com/arkit/arkit",
             arkit::component<arkit::Scheme, arkit::mx_int::MxIntScheme>("mx_int", "microscaling integers"));
