#pragma once
// Results that are the same on every machine. Sums in f32 depend on their order, and matrix products, vector libraries
// and attention kernels choose it by CPU and by number of threads. While a FixedOrder lives, what this thread asks of
// the sdk (norms, RoPE, attention, activations) and of rotations is computed in one order with f32 multiplications and
// additions alone: slower, and equal to the last bit everywhere. Linear layers are the hook's business.

#include <arkit/export.h>

namespace arkit {

class ARKIT_EXPORT FixedOrder {
 public:
  FixedOrder() noexcept;
  ~FixedOrder();
  FixedOrder(const FixedOrder&) = delete;
  FixedOrder& operator=(const FixedOrder&) = delete;

  [[nodiscard]] static bool active() noexcept;  // in this thread
};

// LibTorch's operators use one thread while this lives: for products whose order of additions would depend on how many
// there are. Outside of parallel regions only; inside one they do so anyway.
class ARKIT_EXPORT OneThread {
 public:
  OneThread();
  ~OneThread();
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

}  // namespace arkit
