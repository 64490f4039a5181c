#include <arkit/sdk/block_hooks.h>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/sdk/attention.h>
#include <arkit/sdk/forward_context.h>
#include <arkit/str.h>

#include "sequence_runs.h"

namespace arkit::sdk {
namespace {

// body(first position, count) of each sequence of a row.
template <typename Body>
at::Tensor each_sequence(const ForwardContext& forward, std::string_view module, const Body& body) {
  std::vector<at::Tensor> parts;
  int64_t first = 0;
  for (const SequenceSpan& span : forward.sequences) {
    ARKIT_CHECK(span.past == 0, str("'", module, "': ", span.past, " earlier positions of a sequence were not kept"));
    parts.push_back(body(first, span.count));
    first += span.count;
  }
  return row_of_runs(std::move(parts));
}

}  // namespace

at::Tensor PlainHook::attention(AttentionCall call) {
  const auto attend = [&](const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) {
    const at::Tensor& mask = shared_mask(call.forward, 0, query.size(2), call.window, query.scalar_type());
    return sdk::attention(query, key, value, mask, call.scale, call.softcap);
  };
  if (call.forward.sequences.empty()) return attend(call.query, call.key, call.value);
  return each_sequence(call.forward, call.module, [&](int64_t first, int64_t count) {
    const auto part = [&](const at::Tensor& x) { return heads_of_run(x, first, 1, count); };
    return attend(part(call.query), part(call.key), part(call.value));
  });
}

at::Tensor PlainHook::mix_state(const StateCall& call) {
  const auto advance = [&](const at::Tensor& x) {
    std::vector<at::Tensor> states;
    for (const at::Tensor& state : call.fresh) {
      std::vector<int64_t> sizes = state.sizes().vec();
      sizes.front() = x.size(0);
      states.push_back(state.expand(sizes));
    }
    return call.advance(x, states);
  };
  if (call.forward.sequences.empty()) return advance(call.x);
  return each_sequence(call.forward, call.module,
                       [&](int64_t first, int64_t count) { return advance(rows_of_run(call.x, first, 1, count)); });
}

}  // namespace arkit::sdk
