#include <arkit/sdk/paged_hook.h>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <arkit/error.h>
#include <arkit/sdk/attention.h>
#include <arkit/sdk/forward_context.h>
#include <arkit/str.h>

#include "sequence_runs.h"

namespace arkit::sdk {
namespace {

using Spans = std::span<const SequenceSpan>;

// body(run, its first position) for each run; `length` says how many of the first of the spans left belong to one.
template <typename Length, typename Body>
at::Tensor each_run(const ForwardContext& forward, std::string_view module, const Length& length, const Body& body) {
  ARKIT_CHECK(!forward.sequences.empty(), str("'", module, "': a cache keeps sequences, not rows"));
  std::vector<at::Tensor> parts;
  int64_t first = 0;
  for (Spans left = forward.sequences; !left.empty();) {
    const Spans run = left.first(static_cast<size_t>(length(left)));
    parts.push_back(body(run, first));
    first += static_cast<int64_t>(run.size()) * run.front().count;
    left = left.subspan(run.size());
  }
  return row_of_runs(std::move(parts));
}

int64_t equal_counts(Spans spans) {
  int64_t length = 1;
  while (length < static_cast<int64_t>(spans.size()) && spans[static_cast<size_t>(length)].count == spans.front().count)
    ++length;
  return length;
}

// Each state of all sequences of a run, [n, ...].
std::vector<at::Tensor> gather_states(const SequenceCache& cache, const StateCall& call, Spans run) {
  std::vector<at::Tensor> states;
  for (size_t i = 0; i < call.fresh.size(); ++i) {
    std::vector<at::Tensor> parts;
    for (const SequenceSpan& span : run) {
      const std::vector<at::Tensor>* kept = cache.states(span.id, call.module);
      parts.push_back(kept == nullptr ? call.fresh[i] : kept->at(i));
    }
    states.push_back(parts.size() == 1 ? parts.front() : at::cat(parts));
  }
  return states;
}

}  // namespace

at::Tensor PagedHook::attention(AttentionCall call) {
  const auto length = [&](Spans left) { return cache_.run_length(left); };
  return each_run(call.forward, call.module, length, [&](Spans run, int64_t first) {
    const auto n = static_cast<int64_t>(run.size());
    const SequenceSpan& span = run.front();
    const auto part = [&](const at::Tensor& x) { return heads_of_run(x, first, n, span.count); };
    const auto [key, value] = cache_.append(call.block, run, part(call.key), part(call.value));
    const at::Tensor& mask = shared_mask(call.forward, span.past, span.count, call.window, call.query.scalar_type());
    return sdk::attention(part(call.query), key, value, mask, call.scale, call.softcap);
  });
}

at::Tensor PagedHook::mix_state(const StateCall& call) {
  return each_run(call.forward, call.module, equal_counts, [&](Spans run, int64_t first) {
    const auto n = static_cast<int64_t>(run.size());
    std::vector<at::Tensor> states = gather_states(cache_, call, run);
    at::Tensor y = call.advance(rows_of_run(call.x, first, n, run.front().count), states);
    for (int64_t i = 0; i < n; ++i) {
      std::vector<at::Tensor> own;
      for (const at::Tensor& state : states) own.push_back(state.narrow(0, i, 1));
      cache_.set_states(run[static_cast<size_t>(i)].id, call.module, std::move(own));
    }
    return y;
  });
}

at::Tensor feed(const Model& model, BlockHook& hook, SequenceCache& cache, std::span<const NewTokens> tokens,
                bool last_only, const WholeBlocks& whole) {
  const c10::NoGradGuard no_grad;
  std::vector<int64_t> ids, last;
  std::vector<SequenceSpan> spans;
  for (const NewTokens& given : tokens) {
    spans.push_back(cache.next(given.sequence, static_cast<int64_t>(given.ids.size())));
    ids.insert(ids.end(), given.ids.begin(), given.ids.end());
    last.push_back(static_cast<int64_t>(ids.size()) - 1);
  }
  const ForwardContext context = model.context(1, static_cast<int64_t>(ids.size()), {}, {}, spans);
  at::Tensor hidden = model.embed(at::tensor(ids, at::kLong).unsqueeze(0));
  for (int64_t block = 0; block < model.num_blocks(); ++block)
    if (!whole || !whole(block, hidden, context)) hidden = model.run_block(block, hidden, context, hook);
  cache.advance(spans);
  return last_only && last.size() < ids.size() ? hidden.index_select(1, at::tensor(last, at::kLong)) : hidden;
}

}  // namespace arkit::sdk
