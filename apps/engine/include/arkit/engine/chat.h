#pragma once
// Text as it is written, and conversations with a model.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <arkit/engine/jobs.h>
#include <arkit/export.h>
#include <arkit/json.h>
#include <arkit/log.h>
#include <arkit/registry.h>

namespace arkit {

// Given whole characters as soon as they are certain: what may begin a stop text is held back.
using TextSink = std::function<void(std::string_view piece)>;

// generate() of jobs.h for one prompt, whose text goes to `sink`, too. Throws ErrorCode::usage for several prompts.
[[nodiscard]] ARKIT_EXPORT json::Object generate(const GenerateOptions&, const TextSink& sink, const Registry&,
                                                 Reporter&);

struct ChatAnswer {
  std::string text;
  int64_t prompt_tokens = 0;  // the whole conversation, as the chat template writes it
  int64_t reused_tokens = 0;  // of those, the ones that earlier turns had computed
  int64_t new_tokens = 0;
  std::string_view ended_by;  // "stop_token", "stop_text", "grammar", "max_new_tokens", "context", "interrupt"
};

// A conversation through the model's chat template. What a turn has computed is kept for the next one. One thread at a
// time.
class ARKIT_EXPORT Chat {
 public:
  // Loads the whole model. `registry` outlives the chat, `reporter` the constructor. Throws what opening a model throws,
  // ErrorCode::unsupported for one without a chat template, ErrorCode::usage for values outside their range.
  Chat(const ChatOptions& options, const Registry& registry, Reporter& reporter);
  ~Chat();
  Chat(const Chat&) = delete;
  Chat& operator=(const Chat&) = delete;

  // The answer to a message, piece by piece. An interrupt (log.h) ends it, and what was written stays. Throws
  // ErrorCode::usage when the conversation has become too long, ErrorCode::input for what the template refuses; then the
  // message was never said.
  ChatAnswer say(const std::string& message, const TextSink& sink);
  void reset();                              // to the system message
  void set_system(const std::string& text);  // of the whole conversation, from the next answer on; empty = none

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace arkit
