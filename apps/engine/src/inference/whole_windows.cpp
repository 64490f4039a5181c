#include "inference/whole_windows.h"

#include <vector>

#include <c10/core/GradMode.h>

#include <arkit/error.h>

namespace arkit {

bool run_whole_windows(const Engine& engine, int64_t block, at::Tensor& windows) {
  if (engine.whole_blocks() == 0) return false;
  const c10::NoGradGuard no_grad;
  const int64_t count = windows.size(0), seqlen = windows.size(1);
  sdk::SequenceCache cache(engine.page_size(seqlen), count);
  std::vector<SequenceSpan> spans;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t id = cache.add();
    ARKIT_CHECK(cache.reserve(id, seqlen), "a cache has no room for its windows");
    spans.push_back(cache.next(id, seqlen));
  }
  const ForwardContext context = engine.model().context(1, count * seqlen, {}, {}, spans);
  at::Tensor rows = windows.reshape({1, count * seqlen, windows.size(2)});
  Engine::WholeStep shared;
  if (!engine.run_whole(block, rows, context, cache, shared)) return false;
  windows.copy_(rows.view(windows.sizes()));
  return true;
}

}  // namespace arkit
