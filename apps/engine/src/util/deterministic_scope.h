#pragma once
// --enable_deterministic_algorithms for as long as a job runs: LibTorch's own switch, which arkit's products, attention
// and sums follow as well (tuning/gemm.h, sdk/attention.h).

#include <ATen/Context.h>

namespace arkit {

class DeterministicScope {
 public:
  explicit DeterministicScope(bool wanted)
      : before_(at::globalContext().deterministicAlgorithms()),
        fill_before_(at::globalContext().deterministicFillUninitializedMemory()) {
    if (!wanted) return;
    at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/true);
    at::globalContext().setDeterministicFillUninitializedMemory(false);  // nothing here reads what it has not written
  }
  ~DeterministicScope() {
    at::globalContext().setDeterministicAlgorithms(before_, /*warn_only=*/true);
    at::globalContext().setDeterministicFillUninitializedMemory(fill_before_);
  }
  DeterministicScope(const DeterministicScope&) = delete;
  DeterministicScope& operator=(const DeterministicScope&) = delete;

 private:
  bool before_, fill_before_;
};

}  // namespace arkit
