#include "avx2.h"
#include "block_impl.h"
#include "byte_attention_impl.h"
#include "float_impl.h"
#include "kernels_impl.h"

namespace arkit::ark {

const Kernels kernels_avx2 = {"avx2",       quantize<Avx2>,    multiply<Avx2>, multiply_floats<Avx2>,
                              finish<Avx2>, attend_bytes<Avx2>};
const BlockKernels block_kernels_avx2 = block_kernels<Avx2>();

}  // namespace arkit::ark
