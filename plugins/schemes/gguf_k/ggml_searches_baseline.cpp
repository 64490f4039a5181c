#define ARKIT_LANES 4
#include "ggml_lanes.h"

namespace arkit::gguf_k {

const Searches searches_baseline{"baseline", affine, symmetric, descend, again};

}  // namespace arkit::gguf_k
