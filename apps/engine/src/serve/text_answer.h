#pragma once
// What a request for texts is answered with: the engine's thread adds tokens, the connection takes what there is.

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "serve/api_error.h"
#include "serve/choice.h"
#include "serve/engine_thread.h"
#include "serve/http_server.h"
#include "serve/text_format.h"
#include "serve/text_request.h"

namespace arkit::serve {

class TextAnswer final : public TextOwner, public HttpAnswer {
 public:
  // `model` and `engine` outlive it.
  TextAnswer(TextRequest request, const ServedModel& model, EngineThread& engine, Wake wake);
  // Throws ApiError 429 where the engine has no room for it.
  static void start(const std::shared_ptr<TextAnswer>& answer);

  bool token(size_t text, SessionToken&& token) override;
  void failed(size_t text, const Error& error) override;
  std::optional<HttpPiece> next() override;
  void abandon() noexcept override;

 private:
  [[nodiscard]] std::optional<HttpPiece> whole();
  [[nodiscard]] std::optional<HttpPiece> streamed();
  [[nodiscard]] Usage usage() const;

  const TextRequest request_;
  const ServedModel& model_;
  EngineThread& engine_;
  const Wake wake_;
  const TextFormat format_;
  int64_t list_ = -1;

  std::mutex mutex_;
  std::vector<Choice> choices_;
  int64_t prompt_tokens_ = 0, reused_tokens_ = 0;
  size_t unfinished_ = 0;
  std::optional<ApiError> fault_;
  bool abandoned_ = false;
  // Of the connection.
  std::vector<bool> began_;
  bool sent_head_ = false;
};

}  // namespace arkit::serve
