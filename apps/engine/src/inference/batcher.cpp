#include "inference/batcher.h"

#include <algorithm>
#include <utility>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit {

void check_text(const Engine& engine, const std::vector<int64_t>& prompt, int64_t max_new_tokens,
                const SamplingOptions& sampling) {
  if (max_new_tokens < 1) throw_usage(str("max_new_tokens ", max_new_tokens, " must be 1 or more"));
  check_sampling(sampling);
  if (!sampling.logit_bias.empty()) {
    const int64_t least = sampling.logit_bias.begin()->first, most = sampling.logit_bias.rbegin()->first;
    if (least < 0 || most >= engine.model().vocab_size())
      throw_usage(str("logit_bias: token id ", least < 0 ? least : most, " is outside the model's vocabulary of ",
                      engine.model().vocab_size()));
  }
  if (prompt.empty()) throw_usage("a prompt has no tokens; give it some text");
  engine.check_ids(at::tensor(prompt, at::kLong), "prompt");
  if (static_cast<int64_t>(prompt.size()) >= engine.model().max_positions())
    throw_usage(
        str("a prompt has ", prompt.size(), " tokens; the model takes at most ", engine.model().max_positions() - 1));
}

Batcher::Batcher(Engine& engine, int64_t page_size, int64_t pages)
    : engine_(engine),
      pages_(pages),
      cache_(page_size, pages),
      paged_(engine.layers(), cache_),
      hook_(paged_, engine.attention()) {}

int64_t Batcher::steps(const Engine& engine, int64_t prompt, int64_t most) {
  return std::min(most, engine.model().max_positions() - prompt);
}

int64_t Batcher::add(GrowingText text) {
  Member member;
  const auto prompt = static_cast<int64_t>(text.prompt.size());
  member.left = steps(engine_, prompt, text.most);
  if (cache_.pages_for(prompt + member.left) > pages_)
    throw_usage(str("a text of ", prompt, " tokens and ", member.left, " new ones takes ",
                    cache_.pages_for(prompt + member.left), " pages of the cache, which has ", pages_,
                    "; ask for fewer tokens or give the cache more"));
  if (text.goes_on_from >= next_id_)
    throw_usage(str("a text is to go on from text ", text.goes_on_from, ", and there is none of that number"));
  member.id = next_id_++;
  member.tokens = std::move(text.prompt);
  member.history = TokenHistory(member.tokens);
  member.constraint = Constraint(text.sampler->grammar(), text.stop_ids);
  member.text = std::move(text);
  go_on(member);
  waiting_.push_back(std::move(member));
  return waiting_.back().id;
}

// Takes over what is kept of the text before, up to where the two differ. One token at least is left to be fed: logits
// are of what was fed last.
void Batcher::go_on(Member& member) {
  const auto found = kept_.find(member.text.goes_on_from);
  if (found == kept_.end()) return;
  const auto [sequence, before] = std::move(found->second);
  kept_.erase(found);
  const size_t most = std::min(before.size(), member.tokens.size() - 1);
  const auto differs =
      std::mismatch(before.begin(), before.begin() + static_cast<std::ptrdiff_t>(most), member.tokens.begin());
  const auto same = static_cast<int64_t>(differs.first - before.begin());
  if (same == 0 || !cache_.truncate(sequence, same)) {
    cache_.remove(sequence);
    return;
  }
  member.sequence = sequence;
  member.reused = same;
}

bool Batcher::release(int64_t text) {
  const auto found = kept_.find(text);
  if (found == kept_.end()) return false;
  cache_.remove(found->second.sequence);
  kept_.erase(found);
  return true;
}

bool Batcher::cancel(int64_t text) {
  const auto is_it = [&](const Member& member) { return member.id == text; };
  const auto waits = std::find_if(waiting_.begin(), waiting_.end(), is_it);
  if (waits != waiting_.end()) {
    leave(*waits);
    waiting_.erase(waits);
    return true;
  }
  const auto found = std::find_if(running_.begin(), running_.end(), is_it);
  if (found == running_.end()) return false;
  leave(*found);
  running_.erase(found);
  return true;
}

void Batcher::leave(Member& member) {
  if (member.sequence < 0) return;
  if (!member.text.keep) {
    cache_.remove(member.sequence);
    return;
  }
  member.tokens.resize(static_cast<size_t>(cache_.length(member.sequence)));
  kept_.emplace(member.id, Kept{member.sequence, std::move(member.tokens)});
}

// Gives up what is only kept: the oldest text, or what one that waits behind the first would have gone on from.
bool Batcher::make_room() {
  if (!kept_.empty()) return release(kept_.begin()->first);
  for (size_t i = waiting_.size() - 1; i > 0; --i) {
    Member& later = waiting_[i];
    if (later.sequence < 0) continue;
    cache_.remove(later.sequence);
    later.sequence = -1;
    later.reused = 0;
    return true;
  }
  return false;
}

// In their order: a long text is not passed by shorter ones for ever.
void Batcher::admit() {
  for (; !waiting_.empty(); waiting_.pop_front()) {
    Member& first = waiting_.front();
    const bool fresh = first.sequence < 0;
    if (fresh) first.sequence = cache_.add();
    const int64_t missing = static_cast<int64_t>(first.tokens.size()) - first.reused + first.left;
    bool fits = cache_.reserve(first.sequence, missing);
    while (!fits && make_room()) fits = cache_.reserve(first.sequence, missing);
    if (!fits) {
      if (fresh) cache_.remove(std::exchange(first.sequence, -1));
      return;
    }
    running_.push_back(std::move(first));
  }
}

SessionToken Batcher::grow(Member& member, std::span<const float> logits) {
  const int64_t token = member.text.sampler->pick(member.constraint.allowed(logits), member.history);
  const std::vector<int64_t>& stops = member.text.stop_ids;
  member.tokens.push_back(token);
  member.history.add(token);
  member.constraint.add(token);
  --member.left;
  const bool stopped = std::find(stops.begin(), stops.end(), token) != stops.end();
  const bool complete = member.constraint.complete();
  if (stopped || complete) member.left = 0;
  return {.sequence = member.id,
          .token = token,
          .reused = member.reused,
          .last = member.left == 0,
          .stopped = stopped,
          .complete = complete};
}

std::vector<SessionToken> Batcher::step() {
  admit();
  std::vector<SessionToken> made;
  if (running_.empty()) return made;
  std::vector<sdk::NewTokens> fed;
  for (const Member& member : running_) {
    const std::span<const int64_t> all(member.tokens);
    fed.push_back({member.sequence, all.subspan(static_cast<size_t>(cache_.length(member.sequence)))});
  }
  Engine::WholeStep shared;
  const auto whole = [&](int64_t block, at::Tensor& x, const ForwardContext& context) {
    return engine_.run_whole(block, x, context, cache_, shared);
  };
  const at::Tensor hidden = sdk::feed(engine_.model(), hook_, cache_, fed, true, whole);
  const at::Tensor logits = engine_.logits(hidden).select(0, 0).to(at::kFloat).contiguous();
  const auto vocab = static_cast<size_t>(logits.size(1));
  for (size_t i = 0; i < running_.size(); ++i)
    made.push_back(grow(running_[i], {logits.const_data_ptr<float>() + i * vocab, vocab}));
  for (Member& member : running_)
    if (member.left == 0) leave(member);
  std::erase_if(running_, [](const Member& member) { return member.left == 0; });
  return made;
}

}  // namespace arkit
