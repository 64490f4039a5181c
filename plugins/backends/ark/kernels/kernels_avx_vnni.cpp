#define ARK_AVX_VNNI
#include "avx2.h"
#include "byte_attention_impl.h"
#include "float_impl.h"
#include "kernels_impl.h"

namespace arkit::ark {

const Kernels kernels_avx_vnni = {"avx_vnni",   quantize<Avx2>,    multiply<Avx2>, multiply_floats<Avx2>,
                                  finish<Avx2>, attend_bytes<Avx2>};

}  // namespace arkit::ark
