#pragma once
// A few rows times the weights, all in float32: what x has is not rounded, whatever its type. Lanes take their codes of a
// tile (fragments.h) straight from memory, one tile ahead; a lane has eight columns and a quarter of the inputs, four
// warps share the inputs of 64 columns, and blocks of grid y share them once more (`partial`, as in tile_gemm.h).

#include <arkit/sdk/cuda/tile_gemm.h>

namespace arkit::triton_like {

inline constexpr int kGemvWarps = 4, kGemvThreads = kGemvWarps * cuda::kWarp;

struct GemvArgs {
  const void* x;           // [rows, width] of x_type
  const int32_t* order;    // [tiles * 16]: the input of a row of the tiles, -1 = none; null = its own, up to width
  const uint32_t* weight;  // as TileArgs
  const void* factors;
  const float* zeros;
  const float* bias;  // not with partial
  void* y;            // [rows, n] of x_type
  float* partial;     // [parts, rows, columns]; null = y is written
  int64_t width;
  int32_t rows, n, columns, tiles, group_tiles;
  cuda::FactorType factor_type;
  cuda::RowType x_type;
  int32_t parts;
};

// Bytes of shared memory.
constexpr int gemv_shared(int rows) {
  return 4 * rows * cuda::kTileN * kGemvWarps;
}

template <class Weights, int Rows>
class Gemv {
 public:
  ARKIT_DEVICE explicit Gemv(const GemvArgs& args)
      : args_(args), lane_(cuda::thread_index() % cuda::kWarp), warp_(cuda::thread_index() / cuda::kWarp) {
    ARKIT_EACH (r, Rows) {
      input_sum_[r] = 0;
      ARKIT_EACH (b, 8) sum_[r][b] = part_[r][b] = 0;
    }
  }

  ARKIT_DEVICE void run() {
    const int workers = args_.parts * kGemvWarps, worker = cuda::block_y() * kGemvWarps + warp_;
    const int begin = static_cast<int>(static_cast<int64_t>(args_.tiles) * worker / workers);
    const int end = static_cast<int>(static_cast<int64_t>(args_.tiles) * (worker + 1) / workers);
    Weights codes, next;
    if (begin < end) take(next, begin);
    for (int tile = begin; tile < end; ++tile) {
      codes = next;
      if (tile + 1 < end) take(next, tile + 1);
      multiply(codes, tile);
      if ((tile + 1) % args_.group_tiles == 0 || tile + 1 == end) scale(tile / args_.group_tiles);
    }
    finish();
  }

 private:
  ARKIT_DEVICE void take(Weights& codes, int tile) const {
    const int64_t at = static_cast<int64_t>(tile) * (args_.columns / cuda::kTileN) + cuda::block_x();
    codes.take(args_.weight + at * 32 * Weights::kBits, lane_, [](const auto* from) { return cuda::load(from); });
  }

  ARKIT_DEVICE void multiply(const Weights& codes, int tile) {
    float x[Rows][4];
    ARKIT_EACH (i, 4) {
      const int64_t row = static_cast<int64_t>(tile) * cuda::kTileK + 2 * (lane_ % 4) + i % 2 + 8 * (i / 2);
      const int64_t input =
          args_.order != nullptr ? cuda::load(args_.order + row) : (row < args_.width ? row : int64_t{-1});
      ARKIT_EACH (r, Rows) {
        const bool there = input >= 0 && r < args_.rows;
        x[r][i] = there ? cuda::load_row(args_.x, args_.x_type, r * args_.width + input) : 0.0F;
        input_sum_[r] += x[r][i];
      }
    }
    ARKIT_EACH (b, 8)
      ARKIT_EACH (half, 2) {
        const uint32_t pair = codes.template values<cuda::F16>(b, half);
        const float low = cuda::F16::to_float(static_cast<uint16_t>(pair));
        const float high = cuda::F16::to_float(static_cast<uint16_t>(pair >> 16));
        ARKIT_EACH (r, Rows) part_[r][b] += low * x[r][2 * half] + high * x[r][2 * half + 1];
      }
  }

  ARKIT_DEVICE void scale(int group) {
    ARKIT_EACH (b, 8) {
      const int64_t at = static_cast<int64_t>(group) * args_.columns + cuda::block_x() * cuda::kTileN +
                         cuda::factor_spot(8 * b + lane_ / 4);
      const float factor = cuda::load_row(args_.factors, static_cast<cuda::RowType>(args_.factor_type), at);
      const float zero = Weights::kZeros && args_.zeros != nullptr ? cuda::load(args_.zeros + at) : 0.0F;
      ARKIT_EACH (r, Rows) {
        sum_[r][b] += factor * (part_[r][b] - zero * input_sum_[r]);
        part_[r][b] = 0;
      }
    }
    ARKIT_EACH (r, Rows) input_sum_[r] = 0;
  }

  // Quarters of a warp, then warps, then the column's sum.
  ARKIT_DEVICE void finish() {
    auto* shared = reinterpret_cast<float*>(cuda::shared_memory());
    ARKIT_EACH (r, Rows)
      ARKIT_EACH (b, 8) {
        float sum = sum_[r][b];
        sum += cuda::shuffle_xor(sum, 1);
        sum += cuda::shuffle_xor(sum, 2);
        if (lane_ % 4 == 0)
          cuda::store_shared(shared + (r * kGemvWarps + warp_) * cuda::kTileN + 8 * b + lane_ / 4, sum);
      }
    cuda::sync_threads();
    for (int i = cuda::thread_index(); i < Rows * cuda::kTileN; i += kGemvThreads) {
      const int row = i / cuda::kTileN, column = cuda::block_x() * cuda::kTileN + i % cuda::kTileN;
      if (row >= args_.rows) continue;
      float sum = 0;
      for (int warp = 0; warp < kGemvWarps; ++warp)
        sum += cuda::load_shared(shared + (row * kGemvWarps + warp) * cuda::kTileN + i % cuda::kTileN);
      if (args_.partial != nullptr)
        cuda::store(args_.partial + (static_cast<int64_t>(cuda::block_y()) * args_.rows + row) * args_.columns + column,
                    sum);
      else if (column < args_.n)
        put(static_cast<int64_t>(row) * args_.n + column,
            args_.bias == nullptr ? sum : sum + cuda::load(args_.bias + column));
    }
  }

  ARKIT_DEVICE void put(int64_t at, float value) const {
    if (args_.x_type == cuda::RowType::float32)
      cuda::store(static_cast<float*>(args_.y) + at, value);
    else
      cuda::store(static_cast<uint16_t*>(args_.y) + at, args_.x_type == cuda::RowType::float16
                                                            ? cuda::F16::from_float(value)
                                                            : cuda::BF16::from_float(value));
  }

  const GemvArgs& args_;
  int lane_, warp_;
  float sum_[Rows][8], part_[Rows][8], input_sum_[Rows];
};

}  // namespace arkit::triton_like
