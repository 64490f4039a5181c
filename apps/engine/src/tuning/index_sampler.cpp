#include "tuning/index_sampler.h"

#include <numeric>

#include <arkit/error.h>

namespace arkit {

IndexSampler::IndexSampler(int64_t nsamples, int64_t batch, PythonRandom& random)
    : order_(static_cast<size_t>(nsamples)), batch_(static_cast<size_t>(batch)), random_(random) {
  ARKIT_CHECK(batch > 0 && batch <= nsamples, "a batch needs between 1 and nsamples samples");
  std::iota(order_.begin(), order_.end(), 0);
  random_.shuffle(order_);
}

std::span<const int64_t> IndexSampler::next() {
  if (position_ + batch_ > order_.size()) {
    random_.shuffle(order_);  // from the current order, not from 0..n-1
    position_ = 0;
  }
  const std::span<const int64_t> batch(order_.data() + position_, batch_);
  position_ += batch_;
  return batch;
}

}  // namespace arkit
