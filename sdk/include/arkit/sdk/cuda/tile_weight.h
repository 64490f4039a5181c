#pragma once
// Packs a layer into the tiles of tile_gemm.h, on the CPU. A permutation of bytes and no arithmetic, so that what is
// packed can be kept as a blob and unpacked again.

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include <arkit/sdk/cuda/layer_numbers.h>
#include <arkit/sdk/cuda/tile_gemm.h>

namespace arkit::cuda {

struct TileWeight {
  int bits = 0;
  Numbers numbers = Numbers::integers;
  int64_t outputs = 0, inputs = 0;  // of the layer
  int64_t columns = 0, steps = 0;   // padded: columns to 64, inputs to 32
  int64_t group_tiles = 0, groups = 0;
  FactorType factor_type = FactorType::float32;
  std::vector<uint32_t> words;
  std::vector<std::byte> factors;  // [groups, or more where tiles are filled up; columns]
  std::vector<float> zeros;        // the same, or empty
  std::vector<int32_t> order;      // [steps * 32]: the input of a row of the tiles, -1 = none; empty = its own
  std::vector<float> bias;

  TileWeight() = default;
  explicit TileWeight(const LayerNumbers& layer) {
    bits = layer.bits;
    numbers = layer.numbers;
    outputs = layer.outputs;
    inputs = layer.inputs;
    bias = layer.bias;
    columns = (outputs + kTileN - 1) / kTileN * kTileN;
    arrange(layer);
    pack(layer);
    scale(layer);
  }

  [[nodiscard]] int64_t bytes() const {
    return static_cast<int64_t>(4 * words.size() + factors.size() + 4 * (zeros.size() + order.size() + bias.size()));
  }

 private:
  // Groups side by side, each filled up to whole tiles.
  void arrange(const LayerNumbers& layer) {
    std::vector<std::vector<int32_t>> members(static_cast<size_t>(layer.groups));
    size_t most = 0;
    for (int64_t k = 0; k < layer.inputs; ++k) {
      auto& its = members[static_cast<size_t>(
          layer.group_of.empty() ? k / layer.group : int64_t{layer.group_of[static_cast<size_t>(k)]})];
      its.push_back(static_cast<int32_t>(k));
      most = std::max(most, its.size());
    }
    groups = layer.groups;
    group_tiles = std::max<int64_t>(1, (static_cast<int64_t>(most) + kTileK - 1) / kTileK);
    if (groups == 1 || (layer.group_of.empty() && layer.group % kTileK == 0)) {
      steps = (inputs + 31) / 32;
      return;
    }
    // The last group ends where its members do.
    const auto last = static_cast<int64_t>(members.back().size());
    const int64_t rows = (groups - 1) * group_tiles * kTileK + last;
    steps = (rows + 31) / 32;
    // Groups of act order that differ much in size would be mostly filling.
    if (steps * 32 > 4 * inputs + 4096)
      throw sdk::BackendError(ARKIT_UNSUPPORTED, "groups differ in size: the largest has " + std::to_string(most) +
                                                     " of " + std::to_string(inputs) + " inputs");
    order.assign(static_cast<size_t>(steps * 32), -1);
    for (size_t g = 0; g < members.size(); ++g)
      std::copy(members[g].begin(), members[g].end(),
                order.begin() + static_cast<std::ptrdiff_t>(g) * group_tiles * kTileK);
  }

  void pack(const LayerNumbers& layer) {
    words.assign(static_cast<size_t>(steps * 2 * (columns / kTileN) * 32 * bits), 0);
    const auto filling = static_cast<uint8_t>(numbers == Numbers::integers ? 1 << (bits - 1) : 0);
    for (int64_t row = 0; row < steps * 32; ++row) {
      const int64_t input = order.empty() ? (row < inputs ? row : -1) : order[static_cast<size_t>(row)];
      for (int64_t n = 0; n < columns; ++n) {
        const bool there = input >= 0 && n < outputs;
        const unsigned code = there ? layer.codes[static_cast<size_t>(n * inputs + input)] : filling;
        uint32_t* tile = words.data() + (row / kTileK * (columns / kTileN) + n / kTileN) * 32 * bits;
        for (int plane = 8; plane > 0; plane /= 2) {
          if (!has_plane(bits, plane)) continue;
          const Spot spot = spot_of(bits, plane, static_cast<int>(row % kTileK), static_cast<int>(n % kTileN));
          const unsigned part = code >> plane_shift(bits, plane) & ((1U << plane) - 1);
          tile[spot.word] |= part << spot.bit;
        }
      }
    }
  }

  void scale(const LayerNumbers& layer) {
    // 16 bits where they lose nothing.
    const auto fits = [&](auto round) {
      return std::all_of(layer.factors.begin(), layer.factors.end(), [&](float f) { return round(f) == f; });
    };
    if (fits(sdk::round_to_float16))
      factor_type = FactorType::float16;
    else if (fits(sdk::round_to_bfloat16))
      factor_type = FactorType::bfloat16;
    const size_t width = factor_type == FactorType::float32 ? 4 : 2;
    // Tiles behind the last group have factors too.
    const int64_t rows = std::max(groups, (2 * steps + group_tiles - 1) / group_tiles);
    factors.assign(static_cast<size_t>(rows * columns) * width, std::byte{0});
    if (!layer.zeros.empty()) zeros.assign(static_cast<size_t>(rows * columns), 0);
    for (int64_t n = 0; n < outputs; ++n)
      for (int64_t g = 0; g < groups; ++g) {
        const auto from = static_cast<size_t>(n * groups + g);
        const auto to =
            static_cast<size_t>(g * columns + n / kTileN * kTileN + factor_spot(static_cast<int>(n % kTileN)));
        const float factor = layer.factors[from];
        const uint16_t half =
            factor_type == FactorType::float16 ? sdk::float_to_float16(factor) : sdk::float_to_bfloat16(factor);
        if (width == 4)
          std::memcpy(factors.data() + to * 4, &factor, 4);
        else
          std::memcpy(factors.data() + to * 2, &half, 2);
        if (!zeros.empty()) zeros[to] = layer.zeros[from];
      }
  }
};

}  // namespace arkit::cuda
