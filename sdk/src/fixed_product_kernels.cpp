// Vectors run along the rows of x, so every element of y has its own lane and its sum one order, however many lanes a
// register has. Compiled without contraction: a product and a sum are never fused.
#include "fixed_product_kernels.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#include <arkit/kernel_set.h>

namespace arkit::kernels {
namespace {

constexpr int64_t kChunk = 256;  // inputs of a partial sum

ARKIT_INLINE float widened(float x) {
  return x;
}
ARKIT_INLINE float widened(uint16_t x) {
  return std::bit_cast<float>(static_cast<uint32_t>(x) << 16);
}

// The order in which VDPBF16PS adds its pairs: 1, 0, 3, 2, ... An odd last input stands alone.
ARKIT_INLINE int64_t in_pairs(int64_t step, int64_t inputs) {
  return (step ^ 1) < inputs ? step ^ 1 : step;
}

// An attribute that depends on a template's argument is lost, so each width is spelt out.
template <int kLanes>
struct Register;
template <>
struct Register<4> {
  using Type = float __attribute__((vector_size(16)));
};
template <>
struct Register<8> {
  using Type = float __attribute__((vector_size(32)));
};
template <>
struct Register<16> {
  using Type = float __attribute__((vector_size(64)));
};

// sums [kOut][unit] += for `inputs` of one unit of rows; weights [inputs][kProductOutputs]. kLanes floats a register.
template <int kLanes, int kOut>
ARKIT_INLINE void add_unit(const float* x, const float* weights, int64_t inputs, float* sums, int64_t sums_stride) {
  using Vector = typename Register<kLanes>::Type;
  constexpr int kParts = static_cast<int>(kProductRows) / kLanes;
  Vector acc[kOut][kParts] = {};
  for (int64_t step = 0; step < inputs; ++step) {
    const int64_t i = in_pairs(step, inputs);
    Vector row[kParts];
    std::memcpy(row, x + i * kProductRows, sizeof row);
    for (int o = 0; o < kOut; ++o) {
      const float w = weights[i * kProductOutputs + o];
      for (int p = 0; p < kParts; ++p) acc[o][p] += row[p] * w;
    }
  }
  for (int o = 0; o < kOut; ++o) {
    Vector sum[kParts];
    float* const to = sums + o * sums_stride;
    std::memcpy(sum, to, sizeof sum);
    for (int p = 0; p < kParts; ++p) sum[p] += acc[o][p];
    std::memcpy(to, sum, sizeof sum);
  }
}

struct Strip {
  const float* packed;
  int64_t rows, in, out, first, count;
  float* sums;  // [kProductOutputs][units * kProductRows], zero
  float* y;
};

// kOut outputs at once keep their sums in registers.
template <int kLanes, int kOut, typename T>
ARKIT_INLINE void strip(const Strip& s, const T* weight) {
  const int64_t units = (s.rows + kProductRows - 1) / kProductRows, padded = units * kProductRows;
  float weights[kChunk * kProductOutputs];
  for (int64_t begin = 0; begin < s.in; begin += kChunk) {
    const int64_t inputs = std::min(kChunk, s.in - begin);
    for (int64_t o = 0; o < kProductOutputs; ++o)
      for (int64_t i = 0; i < inputs; ++i)
        weights[i * kProductOutputs + o] = o < s.count ? widened(weight[(s.first + o) * s.in + begin + i]) : 0.0F;
    for (int64_t unit = 0; unit < units; ++unit)
      for (int o = 0; o < kProductOutputs; o += kOut)
        add_unit<kLanes, kOut>(s.packed + (unit * s.in + begin) * kProductRows, weights + o, inputs,
                               s.sums + o * padded + unit * kProductRows, padded);
  }
  for (int64_t r = 0; r < s.rows; ++r)
    for (int64_t o = 0; o < s.count; ++o) s.y[r * s.out + s.first + o] = s.sums[o * padded + r];
}

template <typename T>
void dispatch(const float* packed, const T* weight, int64_t rows, int64_t in, int64_t out, int64_t first, int64_t count,
              float* y) {
  const int64_t padded = (rows + kProductRows - 1) / kProductRows * kProductRows;
  thread_local std::vector<float> sums;
  sums.assign(static_cast<size_t>(kProductOutputs * padded), 0.0F);
  const Strip s{packed, rows, in, out, first, count, sums.data(), y};
#if defined(__x86_64__)
  if (kernel_set() == KernelSet::avx512) return kernel_sets::avx512<strip<16, 8, T>>(s, weight);
  if (kernel_set() == KernelSet::avx2) return kernel_sets::avx2<strip<8, 4, T>>(s, weight);
#endif
  strip<4, 2, T>(s, weight);
}

}  // namespace

void pack_rows(const float* x, int64_t rows, int64_t in, float* packed) {
  for (int64_t first = 0; first < rows; first += kProductRows, packed += in * kProductRows)
    for (int64_t i = 0; i < in; ++i)
      for (int64_t r = 0; r < kProductRows; ++r)
        packed[i * kProductRows + r] = first + r < rows ? x[(first + r) * in + i] : 0.0F;
}

void product_strip(const float* packed, const float* weight, int64_t rows, int64_t in, int64_t out, int64_t first,
                   int64_t count, float* y) {
  dispatch(packed, weight, rows, in, out, first, count, y);
}

void product_strip(const float* packed, const uint16_t* weight, int64_t rows, int64_t in, int64_t out, int64_t first,
                   int64_t count, float* y) {
  dispatch(packed, weight, rows, in, out, first, count, y);
}

void product_ref(const float* x, const float* weight, int64_t rows, int64_t in, int64_t out, float* y) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t o = 0; o < out; ++o) {
      float sum = 0.0F;
      for (int64_t begin = 0; begin < in; begin += kChunk) {
        float part = 0.0F;
        const int64_t inputs = std::min(kChunk, in - begin);
        for (int64_t step = 0; step < inputs; ++step) {
          const int64_t i = begin + in_pairs(step, inputs);
          part += x[r * in + i] * weight[o * in + i];
        }
        sum += part;
      }
      y[r * out + o] = sum;
    }
}

}  // namespace arkit::kernels
