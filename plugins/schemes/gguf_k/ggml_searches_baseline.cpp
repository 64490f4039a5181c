#define ARKIT_LANES 4
#include "ggml_lanes.h"

namespace arkit::gguf_k {

const Searches searches_baseline{"baseline", affine,          symmetric,    descend,
                                 again,      plain_symmetric, plain_affine, plain_bytes};

}  // namespace arkit::gguf_k
