#pragma once
// Answers as OpenAI's clients read them: completions and chats, whole and in pieces.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/engine/session.h>
#include <arkit/json.h>

#include "serve/choice.h"
#include "serve/served_model.h"
#include "serve/text_request.h"

namespace arkit::serve {

struct Usage {
  int64_t prompt_tokens = 0, new_tokens = 0, reused_tokens = 0;
};

// What tokens are called where they stand alone: their text, "token_id:N" for part of a character.
[[nodiscard]] std::string token_name(const Tokenizer& tokenizer, int64_t token);

class TextFormat {
 public:
  // Both outlive it.
  TextFormat(const TextRequest& request, const ServedModel& model);

  // Without the prompt's scores of an echo, if there are any: those of choice 0 of a prompt go for all.
  [[nodiscard]] std::string whole(const std::vector<Choice>& choices, const Usage& usage) const;
  // Of a stream: what comes before all text of a choice, text of it, the end of all. With the end of a choice that may
  // call tools comes all that may be a call.
  [[nodiscard]] std::string begin(size_t choice, const std::vector<ScoredToken>& prompt) const;
  [[nodiscard]] std::string piece(size_t choice, std::string_view text, const ScoredText& scored,
                                  std::string_view ended_by) const;
  [[nodiscard]] std::string end(const Usage& usage) const;

 private:
  [[nodiscard]] json::Object frame(std::string_view object) const;
  [[nodiscard]] json::Value completion_scores(const Prompt* echoed, const std::vector<ScoredToken>& prompt,
                                              const ScoredText& scored, int64_t offset) const;
  [[nodiscard]] json::Value chat_scores(const ScoredText& scored) const;
  [[nodiscard]] json::Object completion(size_t index, const Choice& choice,
                                        const std::vector<ScoredToken>& prompt) const;
  [[nodiscard]] json::Object message(size_t index, const Choice& choice) const;
  [[nodiscard]] std::string echoed(const Prompt& prompt) const;
  [[nodiscard]] const Prompt& prompt_of(size_t choice) const;
  [[nodiscard]] std::string event(json::Object choice) const;

  const TextRequest& request_;
  const ServedModel& model_;
  const std::string id_;
  const int64_t created_;
};

}  // namespace arkit::serve
