#include <arkit/plugin.h>

#include "gguf_k_scheme.h"

ARKIT_PLUGIN("org.arkit.scheme.gguf_k", "0.1.0", "arkit", "Apache-2.0", "https://github.com/arkit/arkit",
             arkit::component<arkit::Scheme, arkit::gguf_k::GgufKScheme>("gguf_k", "the block types of GGUF files"));
