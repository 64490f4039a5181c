// AVX-512's kernels, but products of many rows on tiles. Compiled and emulated in tests, not yet run on a processor that
// has them.
#include <asm/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "avx512.h"
#include "tile_impl.h"

namespace arkit::ark {
namespace {

// The numbers of tiles are written into the instructions: no template argument can be one.
struct AmxTiles {
  struct alignas(64) Config {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t bytes[16] = {};
    uint8_t rows[16] = {};
  };

  int rows_ = 0;

  AmxTiles() = default;
  AmxTiles(const AmxTiles&) = delete;
  AmxTiles& operator=(const AmxTiles&) = delete;
  ~AmxTiles() { _tile_release(); }

  // 0 to 3 are sums, 4 and 5 are A and its short form, 6 and 7 are B's.
  void configure(int rows, int rest) {
    __asm__ volatile("" ::: "memory");  // GCC's _tile_loadd does not say that it reads what was written before
    if (rows == rows_) return;
    rows_ = rows;
    Config config;
    const auto set = [&](int tile, int of_rows, int bytes) {
      config.rows[tile] = static_cast<uint8_t>(of_rows);
      config.bytes[tile] = static_cast<uint16_t>(bytes);
    };
    for (int sums = 0; sums < kStrips; ++sums) set(sums, rows, kTileBytes);
    set(4, rows, kTileBytes);
    set(6, kTileRows, kTileBytes);
    if (rest != 0) {
      set(5, rows, rest);
      set(7, rest / 4, kTileBytes);
    }
    _tile_loadconfig(&config);
  }
  template <int S>
  void zero() {
    if constexpr (S == 0) _tile_zero(0);
    if constexpr (S == 1) _tile_zero(1);
    if constexpr (S == 2) _tile_zero(2);
    if constexpr (S == 3) _tile_zero(3);
  }
  template <int S>
  void store(int32_t* to) {
    if constexpr (S == 0) _tile_stored(0, to, kPanel * 4);
    if constexpr (S == 1) _tile_stored(1, to, kPanel * 4);
    if constexpr (S == 2) _tile_stored(2, to, kPanel * 4);
    if constexpr (S == 3) _tile_stored(3, to, kPanel * 4);
  }
  template <bool Short>
  void load_a(const int8_t* from, int64_t stride) {
    if constexpr (Short)
      _tile_loadd(5, from, stride);
    else
      _tile_loadd(4, from, stride);
  }
  template <int S, bool Short>
  void multiply(const uint8_t* b) {
    if constexpr (Short) {
      _tile_loadd(7, b, 4 * kPanel);
      if constexpr (S == 0) _tile_dpbsud(0, 5, 7);
      if constexpr (S == 1) _tile_dpbsud(1, 5, 7);
      if constexpr (S == 2) _tile_dpbsud(2, 5, 7);
      if constexpr (S == 3) _tile_dpbsud(3, 5, 7);
    } else {
      _tile_loadd(6, b, 4 * kPanel);
      if constexpr (S == 0) _tile_dpbsud(0, 4, 6);
      if constexpr (S == 1) _tile_dpbsud(1, 4, 6);
      if constexpr (S == 2) _tile_dpbsud(2, 4, 6);
      if constexpr (S == 3) _tile_dpbsud(3, 4, 6);
    }
  }
};

void multiply_amx(const Weight& weight, int64_t panel, const Activations& x, int64_t rows, float* y, uint8_t* scratch) {
  if (rows <= kFewRows)
    kernels_avx512_vnni.multiply(weight, panel, x, rows, y, scratch);
  else
    multiply_tiles<Avx512, AmxTiles>(weight, panel, x, rows, y, scratch);
}

}  // namespace

const Kernels& kernels_amx() {
  static const Kernels kKernels = [] {
    Kernels kernels = kernels_avx512_vnni;
    kernels.name = "amx";
    kernels.multiply = multiply_amx;
    return kernels;
  }();
  return kKernels;
}

bool amx_permitted() {
  constexpr unsigned long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM of Linux 5.16
  return ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

}  // namespace arkit::ark
