#include "avx512.h"
#include "block_impl.h"
#include "byte_attention_impl.h"
#include "float_impl.h"
#include "kernels_impl.h"

namespace arkit::ark {

const Kernels kernels_avx512_vnni = {"avx512_vnni",           quantize<Avx512>, multiply<Avx512>,
                                     multiply_floats<Avx512>, finish<Avx512>,   attend_bytes<Avx512>};
const BlockKernels block_kernels_avx512 = block_kernels<Avx512>();

}  // namespace arkit::ark
