#pragma once
// Texts that grow side by side, a token a step: they may be added and cancelled between any two steps.

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include <arkit/engine/session.h>
#include <arkit/sdk/paged_hook.h>

#include "inference/constraint.h"
#include "inference/engine.h"
#include "inference/sampler.h"

namespace arkit {

struct GrowingText {
  std::vector<int64_t> prompt;  // not empty
  int64_t most = 0;             // new tokens; cut to the model's positions
  std::vector<int64_t> stop_ids;
  std::shared_ptr<Sampler> sampler;  // texts may share one: it picks in the order they were added
  bool keep = false;                 // these as of SessionRequest
  int64_t goes_on_from = -1;
  bool share = false;
  int64_t scores = -1;
  bool score_prompt = false;
};

// Throws ErrorCode::usage for a text that cannot be, ErrorCode::input for ids the model does not have.
void check_text(const Engine& engine, const std::vector<int64_t>& prompt, int64_t max_new_tokens,
                const SamplingOptions& sampling);

struct BatchLimits {
  int64_t running = 0, step_tokens = 0;  // as of SessionOptions
};

class Batcher {
 public:
  // `pages` of `page_size` positions for all texts together. Needs engine.load_all(); the engine outlives it.
  Batcher(Engine& engine, int64_t page_size, int64_t pages, const BatchLimits& limits = {});

  // New tokens of a text, once the model's positions are counted.
  [[nodiscard]] static int64_t steps(const Engine& engine, int64_t prompt, int64_t most);

  // A text waits until there are pages for its prompt. Throws ErrorCode::usage when there never will be enough for all
  // it may become.
  int64_t add(GrowingText text);
  // False when there is no such text, or it has ended.
  bool cancel(int64_t text);
  // False when no text of that number is kept.
  bool release(int64_t text);
  // One forward over prompts of texts that found room and the last token of each other one.
  std::vector<SessionToken> step();
  [[nodiscard]] int64_t waiting() const { return static_cast<int64_t>(waiting_.size()); }
  [[nodiscard]] int64_t running() const { return static_cast<int64_t>(running_.size()); }
  [[nodiscard]] SessionState state() const;

 private:
  struct Member {
    int64_t id = 0;
    int64_t sequence = -1;  // of the cache; -1 = not yet, or no longer
    GrowingText text;
    std::vector<int64_t> tokens;  // all of it; what the cache does not have is fed next
    int64_t prompt = 0;           // how many of them the prompt is
    int64_t reused = 0;
    int64_t left = 0;
    std::vector<ScoredToken> prompt_scores;  // as far as it was read; its first token has none
    TokenHistory history;
    Constraint constraint;
  };
  struct Kept {
    int64_t sequence = 0;
    std::vector<int64_t> tokens;  // that the cache has
  };
  struct Feed {  // of a step
    size_t member = 0;
    int64_t first = 0, count = 0;  // of its tokens
    int64_t row = 0;               // of the first one among all that are fed
    bool whole = false;            // nothing is left to be fed: a token comes of it
  };
  void go_on(Member& member);
  void share(Member& member);
  [[nodiscard]] bool twin_is_read(const Member& member) const;
  [[nodiscard]] bool make_room(int64_t spared = -1);  // a sequence that stays
  [[nodiscard]] bool find_room(Member& first);
  void admit();
  void put_back(size_t member);
  [[nodiscard]] int64_t pending(const Member& member) const;
  [[nodiscard]] bool grows_by(size_t member, int64_t count);
  [[nodiscard]] std::vector<Feed> plan();
  [[nodiscard]] at::Tensor feed(const std::vector<Feed>& feeds, bool last_only);
  [[nodiscard]] at::Tensor logits_of(const at::Tensor& hidden);
  void score_prompts(const at::Tensor& hidden, const std::vector<Feed>& feeds);
  [[nodiscard]] std::vector<SessionToken> grow_all(const at::Tensor& hidden, const std::vector<Feed>& feeds);
  void leave(Member& member);
  [[nodiscard]] SessionToken grow(Member& member, std::span<const float> logits);

  Engine& engine_;
  int64_t page_size_, pages_;
  BatchLimits limits_;
  sdk::SequenceCache cache_;
  sdk::PagedHook paged_;
  QuantizedAttention hook_;
  std::deque<Member> waiting_;
  std::vector<Member> running_;
  std::map<int64_t, Kept> kept_;  // by the number of the text
  int64_t next_id_ = 0;
  int64_t computed_ = 0, put_back_ = 0;
};

}  // namespace arkit
