#include "kernels/kernels_avx2.h"

namespace arkit::ark {

const Kernels kernels_avx2 = {"avx2", quantize<Avx2>, multiply<Avx2>};

}  // namespace arkit::ark
