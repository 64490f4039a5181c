// The tile loop of the AMX kernels with tiles in plain C++, for any CPU with AVX2.
#include "ark/emulated_tiles.h"

#if defined(__x86_64__)

#include "kernels/avx2.h"
#include "kernels/tile_impl.h"

namespace arkit::ark::tests {
namespace {

// As the instructions' description says, shapes included: what lies outside of a shape is 0.
struct EmulatedTiles {
  int32_t sums[kStrips][kTileRows][16];
  int8_t a[kTileRows][kTileBytes];
  int rows = 0, rest = 0;

  void configure(int of_rows, int of_rest) {
    rows = of_rows;
    rest = of_rest;
    for (auto& strip : sums)
      for (auto& row : strip)
        for (int32_t& sum : row) sum = 0x55555555;  // nobody relies on what was there
  }
  template <int S>
  void zero() {
    for (auto& row : sums[S])
      for (int32_t& sum : row) sum = 0;
  }
  template <int S>
  void store(int32_t* to) {
    for (int row = 0; row < rows; ++row)
      for (int n = 0; n < 16; ++n) to[row * kPanel + n] = sums[S][row][n];
  }
  template <bool Short>
  void load_a(const int8_t* from, int64_t stride) {
    for (int row = 0; row < rows; ++row)
      for (int k = 0; k < (Short ? rest : kTileBytes); ++k) a[row][k] = from[row * stride + k];
  }
  template <int S, bool Short>
  void multiply(const uint8_t* b) {
    for (int row = 0; row < rows; ++row)
      for (int k = 0; k < (Short ? rest : kTileBytes); ++k)
        for (int n = 0; n < 16; ++n) sums[S][row][n] += a[row][k] * b[k / 4 * 4 * kPanel + n * 4 + k % 4];
  }
};

}  // namespace

void multiply_emulated(const Weight& weight, int64_t panel, const Activations& x, int64_t rows, float* y,
                       uint8_t* scratch) {
  multiply_tiles<Avx2, EmulatedTiles>(weight, panel, x, rows, y, scratch);
}

}  // namespace arkit::ark::tests

#endif
