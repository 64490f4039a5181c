#define ARKIT_LANES 8
#include "auto_round_lanes.h"
#include "ggml_lanes.h"
#include "level_lanes.h"

namespace arkit::gguf_k {

const Searches searches_avx2{"avx2",       affine,      symmetric,     descend,   again, plain_symmetric,
                             plain_affine, plain_bytes, peaks,         e2m1,      trits, scale_bytes,
                             reround,      products,    descend_eight, candidates};

}  // namespace arkit::gguf_k
