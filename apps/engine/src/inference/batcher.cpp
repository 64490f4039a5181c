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
  member.id = next_id_++;
  member.fed = std::move(text.prompt);
  member.text = std::move(text);
  waiting_.push_back(std::move(member));
  return waiting_.back().id;
}

bool Batcher::cancel(int64_t text) {
  const auto is_it = [&](const Member& member) { return member.id == text; };
  if (std::erase_if(waiting_, is_it) > 0) return true;
  const auto found = std::find_if(running_.begin(), running_.end(), is_it);
  if (found == running_.end()) return false;
  cache_.remove(found->sequence);
  running_.erase(found);
  return true;
}

// In their order: a long text is not passed by shorter ones for ever.
void Batcher::admit() {
  for (; !waiting_.empty(); waiting_.pop_front()) {
    Member& first = waiting_.front();
    first.sequence = cache_.add();
    if (!cache_.reserve(first.sequence, static_cast<int64_t>(first.fed.size()) + first.left)) {
      cache_.remove(first.sequence);
      return;
    }
    running_.push_back(std::move(first));
  }
}

SessionToken Batcher::grow(Member& member, std::span<const float> logits) {
  const int64_t token = member.text.sampler->pick(logits);
  const std::vector<int64_t>& stops = member.text.stop_ids;
  member.fed.assign(1, token);
  --member.left;
  const bool stopped = std::find(stops.begin(), stops.end(), token) != stops.end();
  if (stopped) member.left = 0;
  return {.sequence = member.id, .token = token, .last = member.left == 0, .stopped = stopped};
}

std::vector<SessionToken> Batcher::step() {
  admit();
  std::vector<SessionToken> made;
  if (running_.empty()) return made;
  std::vector<sdk::NewTokens> fed;
  for (const Member& member : running_) fed.push_back({member.sequence, member.fed});
  const at::Tensor hidden = sdk::feed(engine_.model(), hook_, cache_, fed, true,
                                      [this](int64_t block, at::Tensor& x, const ForwardContext& context) {
                                        return engine_.run_whole(block, x, context, cache_);
                                      });
  const at::Tensor logits = engine_.logits(hidden).select(0, 0).to(at::kFloat).contiguous();
  const auto vocab = static_cast<size_t>(logits.size(1));
  for (size_t i = 0; i < running_.size(); ++i)
    made.push_back(grow(running_[i], {logits.const_data_ptr<float>() + i * vocab, vocab}));
  std::erase_if(running_, [&](const Member& member) {
    if (member.left == 0) cache_.remove(member.sequence);
    return member.left == 0;
  });
  return made;
}

}  // namespace arkit
