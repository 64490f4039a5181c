#include "walsh_kernels.h"

#include <cstring>

#include <arkit/kernel_set.h>

namespace arkit::rotation::kernels {
namespace {

constexpr int64_t kLanes = 8;

template <typename T>
struct Vector;
template <>
struct Vector<float> {
  using Type = float __attribute__((vector_size(kLanes * sizeof(float))));
  using Lanes = int32_t __attribute__((vector_size(kLanes * sizeof(int32_t))));
};
template <>
struct Vector<double> {
  using Type = double __attribute__((vector_size(kLanes * sizeof(double))));
  using Lanes = int64_t __attribute__((vector_size(kLanes * sizeof(int64_t))));
};

// Butterflies at distances 1, 2 and 4 inside one vector: each lane adds its partner, or is subtracted from it.
template <typename T>
ARKIT_INLINE void inside_vectors(const T* in, T* out, int64_t n, T scale) {
  using V = typename Vector<T>::Type;
  using L = typename Vector<T>::Lanes;
  constexpr L kPartner1 = {1, 0, 3, 2, 5, 4, 7, 6}, kPartner2 = {2, 3, 0, 1, 6, 7, 4, 5},
              kPartner4 = {4, 5, 6, 7, 0, 1, 2, 3};
  constexpr V kSign1 = {1, -1, 1, -1, 1, -1, 1, -1}, kSign2 = {1, 1, -1, -1, 1, 1, -1, -1},
              kSign4 = {1, 1, 1, 1, -1, -1, -1, -1};
  for (int64_t i = 0; i < n; i += kLanes) {
    V v;
    std::memcpy(&v, in + i, sizeof v);
    v *= scale;
    v = v * kSign1 + __builtin_shuffle(v, kPartner1);
    v = v * kSign2 + __builtin_shuffle(v, kPartner2);
    v = v * kSign4 + __builtin_shuffle(v, kPartner4);
    std::memcpy(out + i, &v, sizeof v);
  }
}

template <typename T>
ARKIT_INLINE void butterflies(T* row, int64_t n, int64_t distance) {
  for (int64_t first = 0; first < n; first += 2 * distance) {
    T* a = row + first;
    T* b = a + distance;
#pragma omp simd
    for (int64_t i = 0; i < distance; ++i) {
      const T sum = a[i] + b[i], difference = a[i] - b[i];
      a[i] = sum;
      b[i] = difference;
    }
  }
}

template <typename T>
ARKIT_INLINE void transform_rows(const T* in, T* out, int64_t rows, int64_t n, T scale) {
  for (int64_t r = 0; r < rows; ++r, in += n, out += n) {
    int64_t distance = 1;
    if (n >= kLanes) {
      inside_vectors(in, out, n, scale);
      distance = kLanes;
    } else {
      for (int64_t i = 0; i < n; ++i) out[i] = in[i] * scale;
    }
    for (; distance < n; distance *= 2) butterflies(out, n, distance);
  }
}

}  // namespace

template <typename T>
void walsh_transform(const T* in, T* out, int64_t rows, int64_t n, T scale) {
  by_kernel_set<transform_rows<T>>(in, out, rows, n, scale);
}
template void walsh_transform<float>(const float*, float*, int64_t, int64_t, float);
template void walsh_transform<double>(const double*, double*, int64_t, int64_t, double);

}  // namespace arkit::rotation::kernels
