#pragma once
// Matrix product through Debian's oneDNN, a module of its own that core opens when it wants it.
//
// Two reasons. LibTorch's wheel carries the headers of another oneDNN version, which must not be seen here
// (docs/adr/0013-onednn-in-a-module.md). And libtorch_cpu.so exports a few template instances of its own oneDNN
// (std::call_once of gemm_info_t::jit_init), which would take the place of Debian's in one global symbol scope: bf16
// and int8 products then fail or worse. Opened with RTLD_DEEPBIND the module and the libraries it brings find their own symbols first.

#include <cstdint>

namespace arkit::onednn {

enum class Type : int32_t { f32, bf16 };

// c [m, n] = op(a) op(b), row-major; lda, ldb and ldc are the distances of stored rows. a is stored [m, k] ([k, m] when
// trans_a), b [k, n] ([n, k] when trans_b). c has type `out`.
struct Product {
  int64_t m, n, k;
  int64_t lda, ldb, ldc;
  bool trans_a, trans_b;
  Type in, out;
  bool operator==(const Product&) const = default;
};

inline constexpr const char* kModule = "libarkit_onednn.so";
inline constexpr const char* kEntry = "arkit_onednn_product";

// Computes on the calling thread alone: oneDNN cuts a product for as many threads as OpenMP promises, and parts stay
// undone when fewer come (OMP_THREAD_LIMIT, OMP_DYNAMIC). Null on success, else why not (a constant). [thread-safe]
using Multiply = const char* (*)(const Product& product, const void* a, const void* b, void* c);

}  // namespace arkit::onednn
