#pragma once
// The kernels of this plugin, for nvcc and for the emulator alike: for each kind of weights two for a few rows and four on
// tensor cores.

#include "gemv.h"

namespace arkit::triton_like {

inline constexpr int kRowThreads = 256;
inline constexpr auto integers = cuda::Numbers::integers, e2m1 = cuda::Numbers::e2m1, e4m3 = cuda::Numbers::e4m3,
                      e5m2 = cuda::Numbers::e5m2;
template <int Bits, cuda::Numbers Kind>
using Codes = cuda::Fragments<Bits, Kind, Kind == cuda::Numbers::integers>;

}  // namespace arkit::triton_like

#define ARKIT_TRITON_LIKE_TILE(name, bits, kind, float, shape)                                           \
  ARKIT_KERNEL(name, arkit::cuda::TileArgs, arkit::cuda::shape.threads(), {                              \
    arkit::cuda::TileGemm<arkit::triton_like::Codes<bits, arkit::triton_like::kind>, arkit::cuda::float, \
                          arkit::cuda::shape>(args)                                                      \
        .run();                                                                                          \
  })
#define ARKIT_TRITON_LIKE_GEMV(name, bits, kind, rows)                                                     \
  ARKIT_KERNEL(name, arkit::triton_like::GemvArgs, arkit::triton_like::kGemvThreads, {                     \
    arkit::triton_like::Gemv<arkit::triton_like::Codes<bits, arkit::triton_like::kind>, rows>(args).run(); \
  })
#define ARKIT_TRITON_LIKE(weights, bits, kind)                                             \
  ARKIT_TRITON_LIKE_GEMV(triton_like_##weights##_gemv1, bits, kind, 1)                     \
  ARKIT_TRITON_LIKE_GEMV(triton_like_##weights##_gemv4, bits, kind, 4)                     \
  ARKIT_TRITON_LIKE_TILE(triton_like_##weights##_f16_small, bits, kind, F16, kSmallTile)   \
  ARKIT_TRITON_LIKE_TILE(triton_like_##weights##_f16_large, bits, kind, F16, kLargeTile)   \
  ARKIT_TRITON_LIKE_TILE(triton_like_##weights##_bf16_small, bits, kind, BF16, kSmallTile) \
  ARKIT_TRITON_LIKE_TILE(triton_like_##weights##_bf16_large, bits, kind, BF16, kLargeTile)
ARKIT_TRITON_LIKE(2, 2, integers)
ARKIT_TRITON_LIKE(3, 3, integers)
ARKIT_TRITON_LIKE(4, 4, integers)
ARKIT_TRITON_LIKE(5, 5, integers)
ARKIT_TRITON_LIKE(6, 6, integers)
ARKIT_TRITON_LIKE(7, 7, integers)
ARKIT_TRITON_LIKE(8, 8, integers)
ARKIT_TRITON_LIKE(e2m1, 4, e2m1)
ARKIT_TRITON_LIKE(e4m3, 8, e4m3)
ARKIT_TRITON_LIKE(e5m2, 8, e5m2)
#undef ARKIT_TRITON_LIKE
#undef ARKIT_TRITON_LIKE_TILE
#undef ARKIT_TRITON_LIKE_GEMV

ARKIT_KERNEL(triton_like_arrange_f16, arkit::cuda::ArrangeArgs, arkit::triton_like::kRowThreads,
             { arkit::cuda::arrange<arkit::cuda::F16>(args, arkit::triton_like::kRowThreads); })
ARKIT_KERNEL(triton_like_arrange_bf16, arkit::cuda::ArrangeArgs, arkit::triton_like::kRowThreads,
             { arkit::cuda::arrange<arkit::cuda::BF16>(args, arkit::triton_like::kRowThreads); })
ARKIT_KERNEL(triton_like_add, arkit::cuda::AddArgs, arkit::triton_like::kRowThreads,
             { arkit::cuda::add_parts(args, arkit::triton_like::kRowThreads); })
