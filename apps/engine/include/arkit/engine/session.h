#pragma once
// Generation for programs that serve: texts are added at any time, grow by one token a step side by side, and end or are
// cancelled while others go on. Each has its own length and its own pages of the cache, and its own random numbers: what
// it becomes does not depend on what stands beside it, but for the rounding of matrix products of another height.
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
#include <arkit/registry.h>

namespace arkit {

struct SessionOptions {
  std::string model;                    // as open_source takes it
  std::string backend;                  // empty = the best for each layer
  std::string device;                   // "cpu", "cuda:1"; empty = the best one
  std::string prepared_cache;           // folder for layers made ready, so that the next session need not; empty = none
  std::string dtype = "auto";           // as of `arkit generate`
  int64_t head_bits = 8;                // as of `arkit generate`
  std::string kv_cache_dtype = "auto";  // as of `arkit generate`
  int64_t cache_tokens = 16384;         // positions of all texts together
  int64_t page_size = 64;               // positions a text takes at a time
};

struct SessionRequest {
  std::vector<int64_t> prompt;  // token ids, one or more
  int64_t max_new_tokens = 64;  // fewer where the model's positions end
  std::vector<int64_t> stop_ids;
  SamplingOptions sampling;
  // What was computed of it stays in the cache when it ends, for a text that goes on from it, until release() or until
  // others need the room.
  bool keep = false;
  // A kept text, which ends with this: as much as both begin with is not computed again. What is no longer in the cache
  // is. A conversation goes on so. -1 = none.
  int64_t goes_on_from = -1;
};

struct SessionToken {
  int64_t sequence = 0;
  int64_t token = 0;
  int64_t reused = 0;    // tokens of the prompt that were not computed again
  bool last = false;     // the text ends with it
  bool stopped = false;  // because it is one of its stop_ids
};

class ARKIT_EXPORT Session {
 public:
  // Loads the whole model. `registry` outlives the session. Throws what opening a model throws, and ErrorCode::usage for
  // a cache without room.
  Session(const SessionOptions& options, const Registry& registry);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Its number. The prompt is read by the next step that finds room for all the text may become; texts wait in the order
  // they were added. Throws ErrorCode::usage for what can never be, ErrorCode::input for foreign token ids.
  int64_t add(const SessionRequest& request);
  // False when the text has ended already. One that is to be kept is.
  bool cancel(int64_t sequence);
  // Gives up a kept text; false when there is none of that number.
  bool release(int64_t sequence);
  // A new token for each running text, in the order they were added. Empty when none is unfinished.
  [[nodiscard]] std::vector<SessionToken> step();
  [[nodiscard]] int64_t unfinished() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace arkit
