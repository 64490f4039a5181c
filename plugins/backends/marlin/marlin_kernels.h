#pragma once
// The kernels of this plugin, for nvcc and for the emulator alike.

#include <arkit/sdk/cuda/tile_gemm.h>

namespace arkit::marlin {

inline constexpr int kRowThreads = 256;

template <int Bits>
using Codes = cuda::Fragments<Bits, cuda::Numbers::integers, false>;

}  // namespace arkit::marlin

#define ARKIT_MARLIN(name, bits, float, shape)                                                             \
  ARKIT_KERNEL(name, arkit::cuda::TileArgs, arkit::cuda::shape.threads(), {                                \
    arkit::cuda::TileGemm<arkit::marlin::Codes<bits>, arkit::cuda::float, arkit::cuda::shape>(args).run(); \
  })
ARKIT_MARLIN(marlin_4_f16_small, 4, F16, kSmallTile)
ARKIT_MARLIN(marlin_4_f16_medium, 4, F16, kMediumTile)
ARKIT_MARLIN(marlin_4_f16_large, 4, F16, kLargeTile)
ARKIT_MARLIN(marlin_4_bf16_small, 4, BF16, kSmallTile)
ARKIT_MARLIN(marlin_4_bf16_medium, 4, BF16, kMediumTile)
ARKIT_MARLIN(marlin_4_bf16_large, 4, BF16, kLargeTile)
ARKIT_MARLIN(marlin_8_f16_small, 8, F16, kSmallTile)
ARKIT_MARLIN(marlin_8_f16_medium, 8, F16, kMediumTile)
ARKIT_MARLIN(marlin_8_f16_large, 8, F16, kLargeTile)
ARKIT_MARLIN(marlin_8_bf16_small, 8, BF16, kSmallTile)
ARKIT_MARLIN(marlin_8_bf16_medium, 8, BF16, kMediumTile)
ARKIT_MARLIN(marlin_8_bf16_large, 8, BF16, kLargeTile)
#undef ARKIT_MARLIN

ARKIT_KERNEL(marlin_arrange_f16, arkit::cuda::ArrangeArgs, arkit::marlin::kRowThreads,
             { arkit::cuda::arrange<arkit::cuda::F16>(args, arkit::marlin::kRowThreads); })
ARKIT_KERNEL(marlin_arrange_bf16, arkit::cuda::ArrangeArgs, arkit::marlin::kRowThreads,
             { arkit::cuda::arrange<arkit::cuda::BF16>(args, arkit::marlin::kRowThreads); })
ARKIT_KERNEL(marlin_add, arkit::cuda::AddArgs, arkit::marlin::kRowThreads,
             { arkit::cuda::add_parts(args, arkit::marlin::kRowThreads); })
