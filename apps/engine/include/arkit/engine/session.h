#pragma once
// Generation for programs that serve: texts are added at any time, grow by one token a step side by side, and end or are
// cancelled while others go on. Each has its own length and its own pages of the cache, and its own random numbers: what
// it becomes does not depend on what stands beside it, but for the rounding of matrix products of another height.
//
// They share what they begin alike: what one has computed of a prompt is not computed again for another.
//
//   Session session({.model = "some/folder"}, registry);
//   const int64_t text = session.add({.prompt = tokenizer.encode("Once")});
//   while (session.unfinished() > 0)
//     for (const SessionToken& made : session.step()) ...
//
// One thread at a time. See arkit/engine/tokenizer.h for text.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <arkit/engine/sampling.h>
#include <arkit/export.h>
#include <arkit/log.h>
#include <arkit/registry.h>

namespace arkit {

struct SessionOptions {
  std::string model;           // as open_source takes it
  std::string backend;         // empty = the best for each layer
  std::string device;          // "cpu", "cuda:1"; empty = the best one
  std::string prepared_cache;  // folder for layers made ready, so that the next session need not; empty = none
  std::string dtype = "auto";  // these four as of `arkit generate`
  std::string compute = "auto";
  int64_t head_bits = 8;
  std::string kv_cache_dtype = "auto";
  bool exact = false;            // a measurement: where no backend is named, only such as compute exactly
  int64_t cache_tokens = 16384;  // positions of all texts together
  int64_t page_size = 64;        // positions a text takes at a time
  int64_t max_running = 0;       // texts that grow side by side; 0 = as many as find room
  // New positions of a step, all texts together: a long prompt is read in several steps, and others go on meanwhile. 0 =
  // every prompt in one step.
  int64_t step_tokens = 0;
};

struct TokenScore {
  int64_t token = 0;
  float logprob = 0;  // natural; of the logits as the model gives them, before sampling changes them
};

// A token that stands in a text, and those that are likeliest there, the likeliest first.
struct ScoredToken {
  TokenScore own;
  std::vector<TokenScore> likeliest;
};

struct SessionRequest {
  std::vector<int64_t> prompt;  // token ids, one or more
  int64_t max_new_tokens = 64;  // fewer where the model's positions end; 0 with score_prompt alone
  std::vector<int64_t> stop_ids;
  SamplingOptions sampling;
  // What was computed of it stays in the cache when it ends, for a text that goes on from it, until release() or until
  // others need the room.
  bool keep = false;
  // A kept text, which ends with this: as much as both begin with is not computed again. What is no longer in the cache
  // is. A conversation goes on so. -1 = none.
  int64_t goes_on_from = -1;
  // Without goes_on_from: shares what a kept or running text has computed of what both begin with.
  bool share = false;
  // Each new token comes with its score and so many of the likeliest ones'; -1 = without.
  int64_t scores = -1;
  // The same of the tokens of the prompt but the first, which nothing comes before. All of the prompt is computed then.
  bool score_prompt = false;
};

struct SessionToken {
  int64_t sequence = 0;
  int64_t token = 0;                // -1 = none: a prompt was scored
  int64_t reused = 0;               // tokens of the prompt that were not computed again
  bool last = false;                // the text ends with it
  bool stopped = false;             // because it is one of its stop_ids
  bool complete = false;            // because its grammar lets nothing follow
  ScoredToken score;                // where asked for
  std::vector<ScoredToken> prompt;  // where asked for, with the first token of a text
};

// What it is doing.
struct SessionState {
  int64_t waiting = 0, running = 0, kept = 0;  // texts
  int64_t pages = 0, free_pages = 0;           // of the cache; what is only kept is not free
  int64_t computed = 0;                        // positions since the beginning
  int64_t put_back = 0;                        // times a text had to give its pages to an older one
};

class ARKIT_EXPORT Session {
 public:
  // Loads the whole model. `registry` outlives the session. Throws what opening a model throws, and ErrorCode::usage for
  // a cache without room.
  Session(const SessionOptions& options, const Registry& registry);
  // The same, and says which backends run it.
  Session(const SessionOptions& options, const Registry& registry, Reporter& reporter);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Its number. The prompt is read when there is room for it; texts wait in the order they were added. A running text
  // that finds no room to grow waits, too, when it is the youngest, and else the youngest does; what was computed of it
  // is then computed again. Throws ErrorCode::usage for what can never be, ErrorCode::input for foreign token ids.
  int64_t add(const SessionRequest& request);
  // False when the text has ended already. One that is to be kept is.
  bool cancel(int64_t sequence);
  // Gives up a kept text; false when there is none of that number.
  bool release(int64_t sequence);
  // New tokens of running texts, in the order they were added: none of those whose prompts are still read. When it
  // throws, the running texts can only be cancelled.
  [[nodiscard]] std::vector<SessionToken> step();
  [[nodiscard]] int64_t unfinished() const;
  [[nodiscard]] SessionState state() const;
  [[nodiscard]] int64_t vocab_size() const;
  [[nodiscard]] int64_t max_positions() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace arkit
