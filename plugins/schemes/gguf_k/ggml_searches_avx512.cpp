#define ARKIT_LANES 16
#include "ggml_lanes.h"

namespace arkit::gguf_k {

const Searches searches_avx512{"avx512", affine, symmetric, descend, again, plain_symmetric, plain_affine, plain_bytes};

}  // namespace arkit::gguf_k
