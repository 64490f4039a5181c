#pragma once
// Reuses the memory of large tensors while the same shapes come again and again.

#include <arkit/export.h>

namespace arkit {

// While one lives, tensors of 128 KiB and more come from memory mapped for them, and what is freed is kept for the next
// tensor of the same size; the last one to go gives what is kept back to the system. A tuning step makes and drops
// some thirty such tensors: from the C library's heap each either costs its page faults again (mapped) or leaves holes
// that others do not fit (a quarter more resident memory). Scopes may nest and live on any thread; tensors may outlive
// them. Process-wide: installs itself as LibTorch's CPU allocator on first use and passes everything on when no scope
// lives.
class ARKIT_INTERNAL TensorCacheScope {
 public:
  TensorCacheScope();
  TensorCacheScope(const TensorCacheScope&) = delete;
  TensorCacheScope& operator=(const TensorCacheScope&) = delete;
  ~TensorCacheScope();
};

}  // namespace arkit
