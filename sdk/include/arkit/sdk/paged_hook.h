#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include <ATen/core/Tensor.h>

#include <arkit/model_adapter.h>
#include <arkit/sdk/block_hooks.h>
#include <arkit/sdk/sequence_cache.h>

namespace arkit::sdk {

// Sequences that go on: what they attend to and the states they go on from are in a SequenceCache, whose owner makes
// the spans of a forward (SequenceCache::next) and says when it is over (advance). Both outlive the hook. Not
// differentiable.
class PagedHook final : public ForwardingHook {
 public:
  PagedHook(BlockHook& inner, SequenceCache& cache) : ForwardingHook(inner), cache_(cache) {}
  at::Tensor attention(AttentionCall call) override;
  at::Tensor mix_state(const StateCall& call) override;

 private:
  SequenceCache& cache_;
};

struct NewTokens {
  int64_t sequence = 0;
  std::span<const int64_t> ids;  // one or more
};

// Runs a block by itself and puts its output into `hidden`; false = it is not one of those.
using WholeBlocks = std::function<bool(int64_t block, at::Tensor& hidden, const ForwardContext& context)>;

// A forward over new tokens of sequences of the cache, for which pages are reserved; `hook` is a chain with a PagedHook
// over it, every block that `whole` does not run and the embeddings are loaded. Hidden states before the final norm: of each sequence's last
// token, [1, sequences, hidden_size], or of all, one sequence behind the other.
[[nodiscard]] at::Tensor feed(const Model& model, BlockHook& hook, SequenceCache& cache,
                              std::span<const NewTokens> tokens, bool last_only, const WholeBlocks& whole = {});

}  // namespace arkit::sdk
