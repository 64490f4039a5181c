#pragma once
// What kernels are written with, so that one body is compiled by nvcc for a GPU and by any C++ compiler for the emulator
// of thread blocks (emulator.h), which runs it on a CPU and sees what a GPU would let pass. A kernel is a struct of
// arguments and one line; everything it reads and writes goes through the functions below:
//
//   struct DoubleArgs { const float* x; float* y; int count; };
//   ARKIT_KERNEL(example_double, DoubleArgs, 128, {
//     const int i = block_x() * 128 + thread_index();
//     if (i < args.count) store(args.y + i, 2 * load(args.x + i));
//   })
//
// Fragments of mma and load_matrices lie in lanes as PTX defines them for m16n8k16 (g = lane / 4, t = lane % 4):
//   a[0] rows g,     k 2t 2t+1      a[1] rows g + 8, k 2t 2t+1    b[0] k 2t 2t+1,     column g    c[0..1] row g,     columns 2t 2t+1
//   a[2] rows g,     k 2t+8 2t+9    a[3] rows g + 8, k 2t+8 2t+9  b[1] k 2t+8 2t+9,   column g    c[2..3] row g + 8, columns 2t 2t+1
// ARKIT_EACH(i, count) is a loop that has to be unrolled. Needs sm_80.

#include <cstdint>

#if !defined(__CUDACC__)
#include <arkit/sdk/cuda/emulator.h>
#include <arkit/sdk/float16.h>
#endif

namespace arkit::cuda {

inline constexpr int kWarp = 32;

struct alignas(16) Words4 {
  uint32_t word[4];
};
struct alignas(8) Words2 {
  uint32_t word[2];
};
struct alignas(8) Floats2 {
  float value[2];
};

#if defined(__CUDACC__)

#define ARKIT_DEVICE __device__ __forceinline__
#define ARKIT_BOTH __host__ __device__ __forceinline__
#define ARKIT_EACH(i, count) _Pragma("unroll") for (int i = 0; i < (count); ++i)
#define ARKIT_KERNEL(name, Args, threads, ...) \
  extern "C" __global__ void __launch_bounds__(threads) name(const Args args) __VA_ARGS__

ARKIT_DEVICE int thread_index() {
  return static_cast<int>(threadIdx.x);
}
ARKIT_DEVICE int block_x() {
  return static_cast<int>(blockIdx.x);
}
ARKIT_DEVICE int block_y() {
  return static_cast<int>(blockIdx.y);
}
ARKIT_DEVICE int block_z() {
  return static_cast<int>(blockIdx.z);
}
ARKIT_DEVICE int grid_z() {
  return static_cast<int>(gridDim.z);
}
ARKIT_DEVICE void sync_threads() {
  __syncthreads();
}
ARKIT_DEVICE unsigned char* shared_memory() {
  extern __shared__ Words4 arkit_shared[];
  return reinterpret_cast<unsigned char*>(arkit_shared);
}

// Memory that no kernel of this launch writes.
template <typename T>
ARKIT_DEVICE T load(const T* from) {
  return *from;
}
template <typename T>
ARKIT_DEVICE void store(T* to, T value) {
  *to = value;
}
template <typename T>
ARKIT_DEVICE T load_shared(const T* from) {
  return *from;
}
template <typename T>
ARKIT_DEVICE void store_shared(T* to, T value) {
  *to = value;
}

ARKIT_DEVICE uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}
// 16 bytes, both sides aligned; without `valid` zeros, and `from` is not read.
ARKIT_DEVICE void copy_async(void* to, const void* from, bool valid) {
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(bytes)
               : "memory");
}
ARKIT_DEVICE void copy_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
// Until at most `Left` of this thread's groups are on their way.
template <int Left>
ARKIT_DEVICE void copy_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Left) : "memory");
}

// Lane i gives the address of row i % 8 of the 8 x 8 matrix i / 8; r[j] is row lane / 4, elements 2t and 2t+1 of matrix j.
ARKIT_DEVICE void load_matrices(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}
ARKIT_DEVICE float shuffle_xor(float value, int mask) {
  return __shfl_xor_sync(0xFFFFFFFFU, value, mask);
}

// Two float16 in a word, the first one low.
struct F16 {
  static constexpr bool kHalf = true;
  static ARKIT_DEVICE uint32_t subtract(uint32_t a, uint32_t b) {
    uint32_t d;
    asm("sub.rn.f16x2 %0, %1, %2;" : "=r"(d) : "r"(a), "r"(b));
    return d;
  }
  static ARKIT_DEVICE uint32_t fma(uint32_t a, uint32_t b, uint32_t c) {
    uint32_t d;
    asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
    return d;
  }
  static ARKIT_DEVICE uint16_t from_float(float x) {
    uint16_t h;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(x));
    return h;
  }
  static ARKIT_DEVICE float to_float(uint16_t h) {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(h));
    return x;
  }
  static ARKIT_DEVICE void mma(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
};

struct BF16 {
  static constexpr bool kHalf = false;
  static ARKIT_DEVICE uint32_t fma(uint32_t a, uint32_t b, uint32_t c) {
    uint32_t d;
    asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
    return d;
  }
  // sub.bf16x2 exists since sm_90 only: a * 1 - b.
  static ARKIT_DEVICE uint32_t subtract(uint32_t a, uint32_t b) { return fma(a, 0x3F803F80U, b ^ 0x80008000U); }
  static ARKIT_DEVICE uint16_t from_float(float x) {
    uint16_t h;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(h) : "f"(x));
    return h;
  }
  static ARKIT_DEVICE float to_float(uint16_t h) { return __uint_as_float(static_cast<uint32_t>(h) << 16); }
  static ARKIT_DEVICE void mma(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
};

#else

#define ARKIT_DEVICE inline
#define ARKIT_BOTH inline
#define ARKIT_EACH(i, count) for (int i = 0; i < (count); ++i)
#define ARKIT_KERNEL(name, Args, threads, ...)                                                             \
  inline void name##_body(const Args& args) __VA_ARGS__ inline const ::arkit::cuda::emulated::Kernel name{ \
      #name, threads, sizeof(Args), [](const void* given) { name##_body(*static_cast<const Args*>(given)); }};

ARKIT_DEVICE int thread_index() {
  return emulated::here().thread();
}
ARKIT_DEVICE int block_x() {
  return emulated::here().place.x;
}
ARKIT_DEVICE int block_y() {
  return emulated::here().place.y;
}
ARKIT_DEVICE int block_z() {
  return emulated::here().place.z;
}
ARKIT_DEVICE int grid_z() {
  return emulated::here().grid.z;
}
ARKIT_DEVICE void sync_threads() {
  emulated::here().barrier();
}
ARKIT_DEVICE unsigned char* shared_memory() {
  return emulated::here().shared();
}
template <typename T>
ARKIT_DEVICE T load(const T* from) {
  emulated::here().read_global(from, sizeof(T), alignof(T));
  return *from;
}
template <typename T>
ARKIT_DEVICE void store(T* to, T value) {
  emulated::here().write_global(to, sizeof(T), alignof(T));
  *to = value;
}
template <typename T>
ARKIT_DEVICE T load_shared(const T* from) {
  emulated::here().read_shared(from, sizeof(T), alignof(T));
  return *from;
}
template <typename T>
ARKIT_DEVICE void store_shared(T* to, T value) {
  emulated::here().write_shared(to, sizeof(T), alignof(T));
  *to = value;
}
ARKIT_DEVICE void copy_async(void* to, const void* from, bool valid) {
  emulated::here().copy_async(to, from, valid);
}
ARKIT_DEVICE void copy_commit() {
  emulated::here().copy_commit();
}
template <int Left>
ARKIT_DEVICE void copy_wait() {
  emulated::here().copy_wait(Left);
}
ARKIT_DEVICE void load_matrices(uint32_t (&r)[4], const void* row) {
  emulated::here().read_shared(row, 16, 16);
  emulated::here().warp_call(emulated::WarpCall::matrices, row, nullptr, r);
}
ARKIT_DEVICE float shuffle_xor(float value, int mask) {
  float result = 0;
  emulated::here().warp_call(emulated::WarpCall::shuffle, &value, &mask, &result);
  return result;
}

struct F16 {
  static constexpr bool kHalf = true;
  static uint16_t from_float(float x) { return sdk::float_to_float16(x); }
  static float to_float(uint16_t h) { return sdk::float16_to_float(h); }
  static uint32_t subtract(uint32_t a, uint32_t b) { return emulated::subtract<F16>(a, b); }
  static uint32_t fma(uint32_t a, uint32_t b, uint32_t c) { return emulated::fma<F16>(a, b, c); }
  static void mma(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    emulated::here().warp_call(emulated::WarpCall::mma_f16, a, b, c);
  }
};

struct BF16 {
  static constexpr bool kHalf = false;
  static uint16_t from_float(float x) { return sdk::float_to_bfloat16(x); }
  static float to_float(uint16_t h) { return sdk::bfloat16_to_float(h); }
  static uint32_t subtract(uint32_t a, uint32_t b) { return emulated::subtract<BF16>(a, b); }
  static uint32_t fma(uint32_t a, uint32_t b, uint32_t c) { return emulated::fma<BF16>(a, b, c); }
  static void mma(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    emulated::here().warp_call(emulated::WarpCall::mma_bf16, a, b, c);
  }
};

#endif

}  // namespace arkit::cuda
