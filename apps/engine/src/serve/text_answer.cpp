#include "serve/text_answer.h"

#include <algorithm>
#include <utility>

#include <arkit/str.h>

#include "serve/tool_calls.h"

namespace arkit::serve {
namespace {

constexpr std::string_view kEvents = "text/event-stream; charset=utf-8";

std::vector<std::pair<std::string, std::string>> headers_of(const TextRequest& request) {
  std::string names;
  for (const std::string& name : request.ignored)
    if (names.size() < 200) names += str(names.empty() ? "" : ", ", printable(name, 40));
  if (names.empty()) return {};
  return {{"X-Arkit-Ignored", names}};
}

// Tokens of a stop text are no part of the answer, as far as nobody was given them.
void drop_behind(Choice& choice, int64_t end) {
  ScoredText& scored = choice.scored;
  while (!scored.offsets.empty() && scored.offsets.back() >= end) {
    scored.offsets.pop_back();
    scored.tokens.pop_back();
  }
}

}  // namespace

TextAnswer::TextAnswer(TextRequest request, const ServedModel& model, EngineThread& engine, Wake wake)
    : request_(std::move(request)), model_(model), engine_(engine), wake_(std::move(wake)), format_(request_, model) {
  for (const Prompt& prompt : request_.prompts) {
    prompt_tokens_ += static_cast<int64_t>(prompt.ids.size());
    for (int64_t i = 0; i < request_.n; ++i) {
      Choice& choice = choices_.emplace_back(text::TextStream(*model.tokenizer, request_.stop));
      if (request_.scores >= 0) choice.unstopped.emplace(*model.tokenizer, std::vector<std::string>());
    }
  }
  unfinished_ = choices_.size();
  began_.resize(choices_.size());
}

void TextAnswer::start(const std::shared_ptr<TextAnswer>& answer) {
  const auto list = answer->engine_.submit(session_requests(answer->request_, answer->model_), answer);
  if (!list)
    throw ApiError(429, "too many texts are waiting; try again later, or start the server with more --max_waiting",
                   "queue_full");
  answer->list_ = *list;
}

bool TextAnswer::token(size_t text, SessionToken&& token) {
  bool tell = request_.stream, goes_on = true;
  {
    const std::lock_guard lock(mutex_);
    if (abandoned_) return true;  // the engine is told to cancel it
    Choice& choice = choices_[text];
    if (choice.new_tokens == 0) reused_tokens_ += token.reused;
    if (!token.prompt.empty()) choice.prompt = std::move(token.prompt);
    if (token.token >= 0) {
      if (request_.scores >= 0) {
        choice.scored.tokens.push_back(std::move(token.score));
        choice.scored.offsets.push_back(choice.place);
        choice.place += characters(choice.unstopped->push(token.token));
      }
      ++choice.new_tokens;
      choice.fresh += choice.stream.push(token.token);
    }
    if (token.last) choice.fresh += choice.stream.finish();
    if (choice.stream.stopped()) drop_behind(choice, characters(choice.stream.text()));
    if (token.last || choice.stream.stopped()) {
      choice.ended_by = token.stopped || token.complete || choice.stream.stopped() ? "stop" : "length";
      tell = --unfinished_ == 0 || tell;
      goes_on = false;
    }
  }
  if (tell) wake_();
  return goes_on;
}

void TextAnswer::failed(size_t, const Error& error) {
  {
    const std::lock_guard lock(mutex_);
    if (!fault_) fault_.emplace(error);
    abandoned_ = true;
  }
  wake_();
}

void TextAnswer::abandon() noexcept {
  {
    const std::lock_guard lock(mutex_);
    abandoned_ = true;
    if (unfinished_ == 0) return;
  }
  engine_.cancel(list_);
}

Usage TextAnswer::usage() const {
  Usage usage{.prompt_tokens = prompt_tokens_, .new_tokens = 0, .reused_tokens = reused_tokens_};
  for (const Choice& choice : choices_) usage.new_tokens += choice.new_tokens;
  return usage;
}

std::optional<HttpPiece> TextAnswer::next() {
  return request_.stream ? streamed() : whole();
}

std::optional<HttpPiece> TextAnswer::whole() {
  {
    const std::lock_guard lock(mutex_);
    if (fault_) {
      engine_.cancel(list_);
      return error_piece(*fault_);
    }
    if (unfinished_ > 0) return std::nullopt;
  }
  // The engine has done with it.
  return HttpPiece{.headers = headers_of(request_), .data = format_.whole(choices_, usage())};
}

std::optional<HttpPiece> TextAnswer::streamed() {
  struct Fresh {
    size_t choice;
    std::string text;
    ScoredText scored;
    std::string_view ended_by;
    bool first;
    std::vector<ScoredToken> prompt;
  };
  std::vector<Fresh> fresh;
  HttpPiece piece{.type = std::string(kEvents), .headers = headers_of(request_), .data = {}, .last = false};
  piece.headers.emplace_back("Cache-Control", "no-cache");
  Usage used;
  {
    const std::lock_guard lock(mutex_);
    if (fault_) {
      engine_.cancel(list_);
      if (!sent_head_) return error_piece(*fault_);
      piece.data = "data: " + error_json(*fault_) + "\n\n";
      piece.last = true;
      return piece;
    }
    for (size_t i = 0; i < choices_.size(); ++i) {
      Choice& choice = choices_[i];
      if (choice.given_end || (choice.new_tokens == 0 && choice.ended_by.empty())) continue;
      const std::vector<ScoredToken>& prompt = choices_[i - i % static_cast<size_t>(request_.n)].prompt;
      if (request_.echo && request_.scores >= 0 && prompt.empty()) continue;
      const bool ends = !choice.ended_by.empty();
      std::string text = choice.fresh;
      if (request_.calls_tools && !ends) text.resize(before_call(text));
      if (text.empty() && choice.scored.tokens.empty() && !ends && began_[i]) continue;
      choice.fresh.erase(0, text.size());
      fresh.push_back({i, std::move(text), std::exchange(choice.scored, {}), choice.ended_by, !began_[i],
                       began_[i] ? std::vector<ScoredToken>() : prompt});
      choice.given_end = ends;
      began_[i] = true;
    }
    piece.last = std::all_of(choices_.begin(), choices_.end(), [](const Choice& choice) { return choice.given_end; });
    used = usage();
  }
  if (fresh.empty() && !piece.last) return std::nullopt;
  for (const Fresh& one : fresh) {
    if (one.first) piece.data += format_.begin(one.choice, one.prompt);
    if (!one.text.empty() || !one.scored.tokens.empty() || !one.ended_by.empty())
      piece.data += format_.piece(one.choice, one.text, one.scored, one.ended_by);
  }
  if (piece.last) piece.data += format_.end(used);
  if (piece.data.empty()) return std::nullopt;
  sent_head_ = true;
  return piece;
}

}  // namespace arkit::serve
