#include "inference/batcher.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <tuple>
#include <utility>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/str.h>

#include "inference/token_scores.h"

namespace arkit {
namespace {

constexpr int64_t kWorthSharing = 16;  // positions: below that, computing them is as fast as copying
constexpr size_t kMostKept = 256;      // texts, which are all looked through for a common beginning

// How many tokens both begin with, of the first `most`.
int64_t common(const std::vector<int64_t>& a, const std::vector<int64_t>& b, int64_t most) {
  const auto length = static_cast<std::ptrdiff_t>(
      std::min({static_cast<int64_t>(a.size()), static_cast<int64_t>(b.size()), std::max<int64_t>(most, 0)}));
  return std::mismatch(a.begin(), a.begin() + length, b.begin()).first - a.begin();
}

}  // namespace

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

Batcher::Batcher(Engine& engine, int64_t page_size, int64_t pages, const BatchLimits& limits)
    : engine_(engine),
      page_size_(page_size),
      pages_(pages),
      limits_(limits),
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
  member.prompt = prompt;
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
  if (found == kept_.end() || member.text.score_prompt) return;
  const auto [sequence, before] = std::move(found->second);
  kept_.erase(found);
  const int64_t same = common(before, member.tokens, static_cast<int64_t>(member.tokens.size()) - 1);
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
  // What others that share would take from an earlier one they find in this one.
  if (member.text.share)
    std::erase_if(kept_, [&](const auto& one) {
      const Kept& kept = one.second;
      const auto length = static_cast<int64_t>(kept.tokens.size());
      if (common(kept.tokens, member.tokens, length) < length) return false;
      cache_.remove(kept.sequence);
      return true;
    });
  if (kept_.size() >= kMostKept) (void)release(kept_.begin()->first);
  kept_.emplace(member.id, Kept{member.sequence, std::move(member.tokens)});
}

// Gives up what is only kept: the oldest text but the sequence `spared`, or what one that waits behind the first would
// have gone on from.
bool Batcher::make_room(int64_t spared) {
  const auto oldest =
      std::find_if(kept_.begin(), kept_.end(), [&](const auto& one) { return one.second.sequence != spared; });
  if (oldest != kept_.end()) return release(oldest->first);
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

// Begins as the one that has most in common with it does.
void Batcher::share(Member& member) {
  const int64_t most = static_cast<int64_t>(member.tokens.size()) - 1;
  int64_t best = kWorthSharing - 1, from = -1;
  const auto look = [&](int64_t sequence, const std::vector<int64_t>& tokens, int64_t computed) {
    const int64_t same = common(tokens, member.tokens, std::min(computed, most));
    if (same > best) std::tie(best, from) = std::pair(same, sequence);
  };
  for (const auto& [id, kept] : kept_) look(kept.sequence, kept.tokens, cache_.length(kept.sequence));
  for (const Member& other : running_) look(other.sequence, other.tokens, cache_.length(other.sequence));
  if (from < 0) return;
  while (best % page_size_ > 0 && cache_.free_pages() == 0 && make_room(from)) {
  }
  std::optional<int64_t> made = cache_.fork(from, best);
  if (!made) made = cache_.fork(from, best -= best % page_size_);  // no page for the rest
  if (!made || best == 0) {
    if (made) cache_.remove(*made);
    return;
  }
  member.sequence = *made;
  member.reused = best;
}

// Somebody is reading what this one begins with: it waits and shares.
bool Batcher::twin_is_read(const Member& member) const {
  const int64_t most = static_cast<int64_t>(member.tokens.size()) - 1;
  return std::any_of(running_.begin(), running_.end(), [&](const Member& other) {
    if (pending(other) < 2) return false;
    return common(other.tokens, member.tokens, most) >= cache_.length(other.sequence) + page_size_;
  });
}

int64_t Batcher::pending(const Member& member) const {
  return static_cast<int64_t>(member.tokens.size()) - cache_.length(member.sequence);
}

// For what it is fed first and a page of what it becomes.
bool Batcher::find_room(Member& first) {
  const bool fresh = first.sequence < 0;
  if (fresh && first.text.share && !first.text.score_prompt) share(first);
  if (first.sequence < 0) first.sequence = cache_.add();
  const int64_t missing = pending(first) + std::min(first.left, page_size_);
  bool fits = cache_.reserve(first.sequence, missing);
  while (!fits && make_room()) fits = cache_.reserve(first.sequence, missing);
  if (!fits && fresh) {
    cache_.remove(std::exchange(first.sequence, -1));
    first.reused = 0;
  }
  return fits;
}

// In their order: a long text is not passed by shorter ones for ever.
void Batcher::admit() {
  for (size_t i = 0; i < waiting_.size();) {
    if (limits_.running > 0 && running() >= limits_.running) return;
    Member& next = waiting_[i];
    if (next.sequence < 0 && next.text.share && !next.text.score_prompt && twin_is_read(next)) {
      ++i;
      continue;
    }
    if (!find_room(next)) return;
    const auto place = std::upper_bound(running_.begin(), running_.end(), next.id,
                                        [](int64_t id, const Member& member) { return id < member.id; });
    running_.insert(place, std::move(next));
    waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

// It waits until it finds room again, and is fed all it has become.
void Batcher::put_back(size_t index) {
  Member& member = running_[index];
  cache_.remove(std::exchange(member.sequence, -1));
  member.reused = 0;
  if (static_cast<int64_t>(member.prompt_scores.size()) < member.prompt) member.prompt_scores.clear();
  waiting_.push_front(std::move(member));
  running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(index));
  ++put_back_;
}

// Takes pages for it, from the youngest texts if need be; false when it is the youngest.
bool Batcher::grows_by(size_t member, int64_t count) {
  while (!cache_.reserve(running_[member].sequence, count)) {
    if (make_room()) continue;
    const bool itself = running_.size() == member + 1;
    put_back(running_.size() - 1);
    if (itself) return false;
  }
  return true;
}

std::vector<Batcher::Feed> Batcher::plan() {
  const auto writes = [&](const Member& member) { return pending(member) == 1; };
  int64_t room = std::numeric_limits<int64_t>::max();  // for what is read
  if (limits_.step_tokens > 0)
    room = std::max<int64_t>(limits_.step_tokens - std::count_if(running_.begin(), running_.end(), writes), 1);
  std::vector<Feed> feeds;
  int64_t row = 0;
  for (size_t i = 0; i < running_.size(); ++i) {
    const int64_t all = pending(running_[i]), count = all == 1 ? 1 : std::min(all, room);
    if (count == 0) continue;
    if (!grows_by(i, count)) break;
    if (all > 1) room -= count;
    feeds.push_back(
        {.member = i, .first = cache_.length(running_[i].sequence), .count = count, .row = row, .whole = count == all});
    row += count;
  }
  return feeds;
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
          .complete = complete,
          .score = {},
          .prompt = {}};
}

at::Tensor Batcher::feed(const std::vector<Feed>& feeds, bool last_only) {
  std::vector<sdk::NewTokens> fed;
  for (const Feed& one : feeds) {
    const Member& member = running_[one.member];
    fed.push_back({member.sequence, std::span<const int64_t>(member.tokens)
                                        .subspan(static_cast<size_t>(one.first), static_cast<size_t>(one.count))});
    computed_ += one.count;
  }
  Engine::WholeStep shared;
  const auto whole = [&](int64_t block, at::Tensor& x, const ForwardContext& context) {
    return engine_.run_whole(block, x, context, cache_, shared);
  };
  return sdk::feed(engine_.model(), hook_, cache_, fed, last_only, whole).squeeze(0);
}

// `hidden`: all rows of the step. The row of a token scores the one behind it.
void Batcher::score_prompts(const at::Tensor& hidden, const std::vector<Feed>& feeds) {
  constexpr int64_t kRows = 128;  // of logits at once
  std::vector<ScoreWish> wishes;
  std::vector<std::vector<ScoredToken>*> places;
  for (const Feed& one : feeds) {
    Member& member = running_[one.member];
    if (!member.text.score_prompt) continue;
    if (member.prompt_scores.empty())
      member.prompt_scores.push_back({.own = {member.tokens.front(), 0.0F}, .likeliest = {}});
    for (int64_t i = 0; i < one.count; ++i) {
      const int64_t scored = one.first + i + 1;
      if (scored >= member.prompt || scored < static_cast<int64_t>(member.prompt_scores.size())) continue;
      wishes.push_back(
          {one.row + i, member.tokens[static_cast<size_t>(scored)], std::max<int64_t>(member.text.scores, 0)});
      places.push_back(&member.prompt_scores);
    }
  }
  for (size_t first = 0; first < wishes.size(); first += kRows) {
    std::vector<ScoreWish> some(wishes.begin() + static_cast<std::ptrdiff_t>(first),
                                wishes.begin() + static_cast<std::ptrdiff_t>(std::min(first + kRows, wishes.size())));
    std::vector<int64_t> rows;
    for (ScoreWish& wish : some) {
      rows.push_back(wish.row);
      wish.row = static_cast<int64_t>(rows.size()) - 1;
    }
    const at::Tensor logits = logits_of(hidden.index_select(0, at::tensor(rows, at::kLong)));
    std::vector<ScoredToken> scores = score_tokens(logits, some);
    for (size_t i = 0; i < scores.size(); ++i) places[first + i]->push_back(std::move(scores[i]));
  }
}

at::Tensor Batcher::logits_of(const at::Tensor& hidden) {
  return engine_.logits(hidden.unsqueeze(0)).squeeze(0).to(at::kFloat).contiguous();
}

// `hidden`: a row for each feed.
std::vector<SessionToken> Batcher::grow_all(const at::Tensor& hidden, const std::vector<Feed>& feeds) {
  std::vector<int64_t> rows;
  std::vector<Member*> writers;
  std::vector<SessionToken> made;
  for (size_t i = 0; i < feeds.size(); ++i) {
    Member& member = running_[feeds[i].member];
    if (!feeds[i].whole || member.left == 0) continue;
    rows.push_back(static_cast<int64_t>(i));
    writers.push_back(&member);
  }
  at::Tensor logits;
  if (!rows.empty())
    logits = logits_of(rows.size() == feeds.size() ? hidden : hidden.index_select(0, at::tensor(rows, at::kLong)));
  std::vector<ScoreWish> wishes;
  std::vector<size_t> scored;
  size_t writer = 0;
  for (const Feed& one : feeds) {
    Member& member = running_[one.member];
    if (!one.whole) continue;
    if (member.left == 0) {
      made.push_back({.sequence = member.id, .token = -1, .last = true, .stopped = false, .score = {}, .prompt = {}});
    } else {
      const auto vocab = static_cast<size_t>(logits.size(1));
      made.push_back(grow(member, {logits.const_data_ptr<float>() + writer * vocab, vocab}));
      if (member.text.scores >= 0) {
        wishes.push_back({static_cast<int64_t>(writer), made.back().token, member.text.scores});
        scored.push_back(made.size() - 1);
      }
      ++writer;
    }
    made.back().prompt = std::exchange(member.prompt_scores, {});
    member.text.score_prompt = false;  // once
  }
  std::vector<ScoredToken> scores = score_tokens(logits, wishes);
  for (size_t i = 0; i < scores.size(); ++i) made[scored[i]].score = std::move(scores[i]);
  return made;
}

std::vector<SessionToken> Batcher::step() {
  admit();
  const std::vector<Feed> feeds = plan();
  if (feeds.empty()) return {};
  const bool scores =
      std::any_of(feeds.begin(), feeds.end(), [&](const Feed& one) { return running_[one.member].text.score_prompt; });
  at::Tensor hidden = feed(feeds, !scores);
  if (scores) {
    score_prompts(hidden, feeds);
    std::vector<int64_t> last;
    for (const Feed& one : feeds) last.push_back(one.row + one.count - 1);
    hidden = hidden.index_select(0, at::tensor(last, at::kLong));
  }
  std::vector<SessionToken> made = grow_all(hidden, feeds);
  for (const SessionToken& token : made) {
    if (!token.last) continue;
    const auto ended = std::find_if(running_.begin(), running_.end(),
                                    [&](const Member& member) { return member.id == token.sequence; });
    leave(*ended);
    running_.erase(ended);
  }
  return made;
}

SessionState Batcher::state() const {
  return {.waiting = waiting(),
          .running = running(),
          .kept = static_cast<int64_t>(kept_.size()),
          .pages = pages_,
          .free_pages = cache_.free_pages(),
          .computed = computed_,
          .put_back = put_back_};
}

}  // namespace arkit
