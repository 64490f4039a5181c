#pragma once
// y = x W^T for weights in fragment order (fragments.h) on tensor cores: mma.sync m16n8k16 with sums in float32, weights
// and x through a ring of stages that cp.async fills. Codes are multiplied as the exact whole numbers they are, and a
// group's sum by its factor in float32, so that nothing but x is ever rounded to 16 bits.
//
// A block computes 16 * mt * row_warps rows times 64 * column_warps columns over a part of the inputs (grid z, split-K), which
// `slices` sets of warps share once more; their sums meet in shared memory, those of parts in `partial`, added by
// add_parts in a fixed order: results do not depend on how blocks happen to run. Grid: x = columns, y = rows, z = parts.

#include <cstdint>

#include <arkit/sdk/cuda/fragments.h>

namespace arkit::cuda {

enum class FactorType : int32_t { float32, float16, bfloat16 };

// Shapes are padded: columns to 64, inputs to 32 (steps of two tiles). A group is `group_tiles` tiles; the last one may be
// shorter. Sizes in elements.
struct TileArgs {
  const uint16_t* x;       // [rows, x_stride], 16 bytes aligned; x_width inputs, a multiple of 8, the others are zero
  const uint32_t* weight;  // [steps * 2][columns / 64] tiles of 32 * bits words
  const void* factors;     // [groups, columns] in factor_spot order, of factor_type, 16 bytes aligned
  const float* zeros;      // the same; what is subtracted from codes besides their middle; null = nothing
  const float* bias;       // [n] or null; not with partial
  uint16_t* y;             // [rows, n]
  float* partial;          // [parts, rows, columns]; null = y is written
  int64_t x_stride;
  int32_t rows, n, columns, steps, group_tiles, x_width;
  FactorType factor_type;
  int32_t padding;
};

// How a block is made up: warps along rows, columns and inputs, 16-row tiles of a warp, stages of the ring.
struct TileShape {
  int row_warps, column_warps, slices, mt, stages;
  [[nodiscard]] ARKIT_BOTH constexpr int threads() const { return kWarp * row_warps * column_warps * slices; }
  [[nodiscard]] ARKIT_BOTH constexpr int m() const { return 16 * mt * row_warps; }
  [[nodiscard]] ARKIT_BOTH constexpr int n() const { return kTileN * column_warps; }
};

// Up to 16 rows and up to 32: the warps of a block share the inputs of 64 columns and the weights stream by. More: 64
// rows share 256 columns.
inline constexpr TileShape kSmallTile{1, 1, 4, 1, 4}, kMediumTile{1, 1, 4, 2, 4}, kLargeTile{2, 4, 1, 2, 4};

// Bytes of a stage and where its parts lie: weights, x, factors, zeros, each for all slices.
struct StageBytes {
  int weight, x, factors, zeros;  // of a slice
  int x_start, factor_start, zero_start, all, block;
  ARKIT_BOTH constexpr StageBytes(int bits, bool has_zeros, TileShape shape)
      : weight(2 * 128 * bits * shape.column_warps),
        x(64 * shape.m()),
        factors(2 * 4 * shape.n()),
        zeros(has_zeros ? factors : 0),
        x_start(weight * shape.slices),
        factor_start(x_start + x * shape.slices),
        zero_start(factor_start + factors * shape.slices),
        all(zero_start + zeros * shape.slices),
        block(0) {
    // Slices meet in the ring when it is done.
    const int meeting = 4 * 32 * shape.mt * kWarp * shape.row_warps * shape.column_warps * (shape.slices - 1);
    block = all * shape.stages > meeting ? all * shape.stages : meeting;
  }
};

template <class Weights, class Float, TileShape Shape>
class TileGemm {
  static constexpr int kSliceThreads = Shape.threads() / Shape.slices;
  static constexpr StageBytes kStage{Weights::kBits, Weights::kZeros, Shape};

 public:
  ARKIT_DEVICE explicit TileGemm(const TileArgs& args) : args_(args), shared_(shared_memory()) {
    const int warp = thread_index() / kWarp;
    lane_ = thread_index() % kWarp;
    thread_ = thread_index() % kSliceThreads;
    row_warp_ = warp % Shape.row_warps;
    column_warp_ = warp / Shape.row_warps % Shape.column_warps;
    slice_ = warp / (Shape.row_warps * Shape.column_warps);
    tile_ = block_x() * Shape.column_warps;
    // The block's steps, of which each slice has as many as the first, or fewer.
    const int64_t steps = args.steps;
    const int first = static_cast<int>(steps * block_z() / grid_z());
    const int count = static_cast<int>(steps * (block_z() + 1) / grid_z()) - first;
    each_ = (count + Shape.slices - 1) / Shape.slices;
    const int left = count - slice_ * each_;
    slice_count_ = left < 0 ? 0 : (left < each_ ? left : each_);
    first_tile_ = 2 * (first + slice_ * each_);
    last_ = first_tile_ + 2 * slice_count_;
    shift_ = 0;
    while ((1 << shift_) < args.group_tiles) ++shift_;
    if ((1 << shift_) != args.group_tiles) shift_ = -1;
    ARKIT_EACH (mt, Shape.mt)
      ARKIT_EACH (b, 8)
        ARKIT_EACH (i, 4) sum_[mt][b][i] = part_[mt][b][i] = 0;
    ARKIT_EACH (mt, Shape.mt)
      ARKIT_EACH (i, 4) rows_[mt][i] = 0;
  }

  ARKIT_DEVICE void run() {
    ARKIT_EACH (i, Shape.stages - 1) fetch(i);
    for (int i = 0; i < each_; ++i) {
      copy_wait<Shape.stages - 2>();
      sync_threads();
      fetch(i + Shape.stages - 1);  // into the stage that everybody has left at the barrier
      if (i < slice_count_) multiply(i);
    }
    copy_wait<0>();
    if constexpr (Shape.slices > 1) meet();
    if (slice_ == 0) finish();
  }

 private:
  // Whole numbers of groups cost a division where their size is no power of two.
  ARKIT_DEVICE int group_of(int tile) const { return shift_ >= 0 ? tile >> shift_ : tile / args_.group_tiles; }
  // Does a group, or the slice's part of it, end with this tile?
  ARKIT_DEVICE bool ends(int tile) const { return group_of(tile) != group_of(tile + 1) || tile + 1 == last_; }
  ARKIT_DEVICE int factor_bytes() const { return args_.factor_type == FactorType::float32 ? 4 : 2; }
  ARKIT_DEVICE unsigned char* stage(int i) const { return shared_ + i % Shape.stages * kStage.all; }

  // Step i of the slice, by the slice's own threads.
  ARKIT_DEVICE void fetch(int i) {
    if (i < slice_count_) {
      fetch_weight(i);
      fetch_x(i);
      for (int which = 0; which < 2; ++which) {
        const int tile = first_tile_ + 2 * i + which;
        if (!ends(tile)) continue;
        const int64_t row = group_of(tile);
        fetch_row(stage(i) + kStage.factor_start + slice_ * kStage.factors + which * 4 * Shape.n(),
                  static_cast<const unsigned char*>(args_.factors) + row * args_.columns * factor_bytes(),
                  factor_bytes());
        if constexpr (Weights::kZeros)
          if (args_.zeros != nullptr)
            fetch_row(stage(i) + kStage.zero_start + slice_ * kStage.zeros + which * 4 * Shape.n(),
                      reinterpret_cast<const unsigned char*>(args_.zeros + row * args_.columns), 4);
      }
    }
    copy_commit();
  }

  ARKIT_DEVICE void fetch_weight(int i) {
    constexpr int kTile = 8 * Weights::kBits, kOfRow = kTile * Shape.column_warps;  // pieces of 16 bytes
    unsigned char* to = stage(i) + slice_ * kStage.weight;
    const int64_t tiles = args_.columns / kTileN;
    for (int piece = thread_; piece < 2 * kOfRow; piece += kSliceThreads) {
      const int tile = tile_ + piece % kOfRow / kTile;
      const int64_t at = (first_tile_ + 2 * i + piece / kOfRow) * tiles + tile;
      const bool there = tile < tiles;
      copy_async(to + 16 * piece, args_.weight + (there ? at * kTile + piece % kTile : 0) * 4, there);
    }
  }

  // 32 inputs of each row, 4 pieces of 16 bytes; pieces of eight rows on end lie in different banks.
  ARKIT_DEVICE void fetch_x(int i) {
    unsigned char* to = stage(i) + kStage.x_start + slice_ * kStage.x;
    const int first = (first_tile_ + 2 * i) * kTileK;
    for (int piece = thread_; piece < 4 * Shape.m(); piece += kSliceThreads) {
      const int row = piece / 4, from = first + piece % 4 * 8;
      const int64_t whole = static_cast<int64_t>(block_y()) * Shape.m() + row;
      const bool there = whole < args_.rows && from < args_.x_width;
      copy_async(to + x_spot(row, piece % 4), args_.x + (there ? whole * args_.x_stride + from : 0), there);
    }
  }
  static ARKIT_DEVICE int x_spot(int row, int piece) { return 64 * row + 16 * (piece ^ (row / 2 % 4)); }

  ARKIT_DEVICE void fetch_row(unsigned char* to, const unsigned char* row, int bytes) {
    for (int piece = thread_; piece < Shape.n() * bytes / 16; piece += kSliceThreads) {
      const bool there = tile_ * kTileN + piece * (16 / bytes) < args_.columns;
      copy_async(to + 16 * piece, there ? row + static_cast<int64_t>(tile_) * kTileN * bytes + 16 * piece : row, there);
    }
  }

  ARKIT_DEVICE void multiply(int i) {
    const unsigned char* x = stage(i) + kStage.x_start + slice_ * kStage.x;
    const auto* weight = reinterpret_cast<const uint32_t*>(stage(i) + slice_ * kStage.weight);
    ARKIT_EACH (which, 2) {
      Weights codes;
      codes.take(weight + (which * Shape.column_warps + column_warp_) * 32 * Weights::kBits, lane_,
                 [](const auto* from) { return load_shared(from); });
      uint32_t a[Shape.mt][4];
      ARKIT_EACH (mt, Shape.mt)
        load_matrices(a[mt], x + x_spot((row_warp_ * Shape.mt + mt) * 16 + lane_ % 16, 2 * which + lane_ / 16));
      ARKIT_EACH (b, 8) {
        const uint32_t pair[2] = {codes.template values<Float>(b, 0), codes.template values<Float>(b, 1)};
        ARKIT_EACH (mt, Shape.mt) Float::mma(part_[mt][b], a[mt], pair);
      }
      if constexpr (Weights::kZeros) {
        if (args_.zeros != nullptr) {
          constexpr uint32_t kOnes = Float::kHalf ? 0x3C003C00U : 0x3F803F80U;
          const uint32_t ones[2] = {kOnes, kOnes};
          ARKIT_EACH (mt, Shape.mt) Float::mma(rows_[mt], a[mt], ones);
        }
      }
      if (ends(first_tile_ + 2 * i + which)) scale(i, which);
    }
  }

  // The group's sums, times its factors.
  ARKIT_DEVICE void scale(int i, int which) {
    const unsigned char* factors = stage(i) + kStage.factor_start + slice_ * kStage.factors + which * 4 * Shape.n();
    const unsigned char* zeros = stage(i) + kStage.zero_start + slice_ * kStage.zeros + which * 4 * Shape.n();
    ARKIT_EACH (b, 8) {
      const int spot = column_warp_ * kTileN + factor_spot(8 * b + 2 * (lane_ % 4));
      const Floats2 factor = factor_pair(factors, spot);
      Floats2 zero{{0, 0}};
      if constexpr (Weights::kZeros)
        if (args_.zeros != nullptr) zero = load_shared(reinterpret_cast<const Floats2*>(zeros + 4 * spot));
      ARKIT_EACH (mt, Shape.mt)
        ARKIT_EACH (j, 4) {
          sum_[mt][b][j] += factor.value[j % 2] * (part_[mt][b][j] - zero.value[j % 2] * rows_[mt][j]);
          part_[mt][b][j] = 0;
        }
    }
    ARKIT_EACH (mt, Shape.mt)
      ARKIT_EACH (j, 4) rows_[mt][j] = 0;
  }

  ARKIT_DEVICE Floats2 factor_pair(const unsigned char* factors, int spot) const {
    if (args_.factor_type == FactorType::float32)
      return load_shared(reinterpret_cast<const Floats2*>(factors + 4 * spot));
    const uint32_t pair = load_shared(reinterpret_cast<const uint32_t*>(factors + 2 * spot));
    const auto low = static_cast<uint16_t>(pair), high = static_cast<uint16_t>(pair >> 16);
    if (args_.factor_type == FactorType::float16) return {{F16::to_float(low), F16::to_float(high)}};
    return {{BF16::to_float(low), BF16::to_float(high)}};
  }

  // Slices hand their sums to the first one.
  ARKIT_DEVICE void meet() {
    constexpr int kEach = 32 * Shape.mt, kWarps = Shape.row_warps * Shape.column_warps;
    auto* place = reinterpret_cast<float*>(shared_);
    const int warp = column_warp_ * Shape.row_warps + row_warp_;
    sync_threads();
    if (slice_ > 0) {
      float* to = place + ((slice_ - 1) * kWarps + warp) * kEach * kWarp + lane_;
      ARKIT_EACH (mt, Shape.mt)
        ARKIT_EACH (j, 32) store_shared(to + (32 * mt + j) * kWarp, sum_[mt][j / 4][j % 4]);
    }
    sync_threads();
    if (slice_ > 0) return;
    for (int other = 0; other < Shape.slices - 1; ++other) {
      const float* from = place + (other * kWarps + warp) * kEach * kWarp + lane_;
      ARKIT_EACH (mt, Shape.mt)
        ARKIT_EACH (j, 32) sum_[mt][j / 4][j % 4] += load_shared(from + (32 * mt + j) * kWarp);
    }
  }

  ARKIT_DEVICE void finish() {
    const int column = (tile_ + column_warp_) * kTileN;
    if (column >= args_.columns) return;
    ARKIT_EACH (mt, Shape.mt)
      ARKIT_EACH (half, 2) {
        const int64_t row =
            static_cast<int64_t>(block_y()) * Shape.m() + (row_warp_ * Shape.mt + mt) * 16 + lane_ / 4 + 8 * half;
        if (row >= args_.rows) continue;
        ARKIT_EACH (b, 8) put(row, column + 8 * b + 2 * (lane_ % 4), sum_[mt][b][2 * half], sum_[mt][b][2 * half + 1]);
      }
  }

  ARKIT_DEVICE void put(int64_t row, int column, float first, float second) const {
    if (args_.partial != nullptr) {
      const int64_t part = static_cast<int64_t>(block_z()) * args_.rows + row;
      store(reinterpret_cast<Floats2*>(args_.partial + part * args_.columns + column), Floats2{{first, second}});
      return;
    }
    uint16_t* to = args_.y + row * args_.n + column;
    if (column < args_.n) store(to, Float::from_float(first + bias(column)));
    if (column + 1 < args_.n) store(to + 1, Float::from_float(second + bias(column + 1)));
  }
  ARKIT_DEVICE float bias(int column) const { return args_.bias == nullptr ? 0.0F : load(args_.bias + column); }

  const TileArgs& args_;
  unsigned char* shared_;
  int lane_, thread_, row_warp_, column_warp_, slice_, tile_;  // thread_: among those of the slice
  int each_, slice_count_;                                     // steps of the longest slice, of this one
  int first_tile_, last_, shift_;                              // of this slice; group_tiles as a power of two, or -1
  float sum_[Shape.mt][8][4], part_[Shape.mt][8][4], rows_[Shape.mt][4];
};

// ---- before and after -----------------------------------------------------------------------------------------------

enum class RowType : int32_t { float32, float16, bfloat16 };

ARKIT_DEVICE float load_row(const void* from, RowType type, int64_t at) {
  if (type == RowType::float32) return load(static_cast<const float*>(from) + at);
  const uint16_t half = load(static_cast<const uint16_t*>(from) + at);
  return type == RowType::float16 ? F16::to_float(half) : BF16::to_float(half);
}

// Rows of x in the order of the weight's inputs, padded with zeros; in several parts whose sum is x where x has more
// digits than 16 bits hold: out[part][row] = what the parts before leave, rounded.
struct ArrangeArgs {
  const void* x;         // [rows, width]
  const int32_t* order;  // [stride]: the input a column is for, -1 = none; null = its own, up to width
  uint16_t* out;         // [parts, rows, stride]
  int64_t rows, width, stride;
  int32_t parts;
  RowType type;
};

template <class Float>
ARKIT_DEVICE void arrange(const ArrangeArgs& args, int threads) {
  const int64_t at = static_cast<int64_t>(block_x()) * threads + thread_index();
  if (at >= args.rows * args.stride) return;
  const int64_t row = at / args.stride, column = at % args.stride;
  const int64_t input =
      args.order != nullptr ? load(args.order + column) : (column < args.width ? column : int64_t{-1});
  float left = input < 0 ? 0.0F : load_row(args.x, args.type, row * args.width + input);
  for (int part = 0; part < args.parts; ++part) {
    const uint16_t rounded = Float::from_float(left);
    store(args.out + (part * args.rows + row) * args.stride + column, rounded);
    const float rest = left - Float::to_float(rounded);
    left = rest - rest == 0 ? rest : 0.0F;  // what is infinite has no rest
  }
}

// y = the sum of the parts of the inputs (split-K) and of x, in their order, and the bias.
struct AddArgs {
  const float* partial;  // [splits, parts, rows, columns]
  const float* bias;     // [n] or null
  void* y;               // [rows, n]
  int64_t rows;
  int32_t n, columns, splits, parts;
  RowType type;
  int32_t padding;
};

ARKIT_DEVICE void add_parts(const AddArgs& args, int threads) {
  const int64_t at = static_cast<int64_t>(block_x()) * threads + thread_index();
  if (at >= args.rows * args.n) return;
  const int64_t row = at / args.n, column = at % args.n;
  float sum = args.bias == nullptr ? 0.0F : load(args.bias + column);
  for (int part = args.parts - 1; part >= 0; --part)  // the small ones first
    for (int split = 0; split < args.splits; ++split)
      sum += load(args.partial + ((static_cast<int64_t>(split) * args.parts + part) * args.rows + row) * args.columns +
                  column);
  if (args.type == RowType::float32)
    store(static_cast<float*>(args.y) + at, sum);
  else
    store(static_cast<uint16_t*>(args.y) + at,
          args.type == RowType::float16 ? F16::from_float(sum) : BF16::from_float(sum));
}

}  // namespace arkit::cuda
