#pragma once
// Which calibration samples an iteration sees (docs/spec/signround.md 7): shuffled passes over all samples, an
// incomplete tail dropped.

#include <cstdint>
#include <span>
#include <vector>

#include <arkit/export.h>

#include "util/python_random.h"

namespace arkit {

// One sampler a block; the generator's state goes on from block to block, as in the reference.
class ARKIT_EXPORT IndexSampler {
 public:
  IndexSampler(int64_t nsamples, int64_t batch, PythonRandom& random);
  // The next `batch` indices; valid until the next call.
  [[nodiscard]] std::span<const int64_t> next();

 private:
  std::vector<int64_t> order_;
  size_t batch_, position_ = 0;
  PythonRandom& random_;
};

}  // namespace arkit
