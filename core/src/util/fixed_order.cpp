#include <arkit/fixed_order.h>

#include <ATen/Parallel.h>

namespace arkit {
namespace {
thread_local int g_depth = 0;
}  // namespace

FixedOrder::FixedOrder() noexcept {
  ++g_depth;
}
FixedOrder::~FixedOrder() {
  --g_depth;
}
bool FixedOrder::active() noexcept {
  return g_depth > 0;
}

OneThread::OneThread() : before_(at::get_num_threads()) {
  at::set_num_threads(1);
}
OneThread::~OneThread() {
  at::set_num_threads(before_);
}

}  // namespace arkit
