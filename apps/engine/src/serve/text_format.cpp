#include "serve/text_format.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <random>

#include <arkit/str.h>

#include "serve/tool_calls.h"

namespace arkit::serve {
namespace {

constexpr std::string_view kNoCharacter = "\uFFFD";
constexpr double kImpossible = -9999.0;  // JSON has no infinity

std::string new_id(std::string_view prefix) {
  static std::atomic<uint64_t> next{std::random_device()()};
  return str(prefix, std::hex, next++);
}

int64_t now() {
  using namespace std::chrono;
  return duration_cast<seconds>(system_clock::now().time_since_epoch()).count();
}

double shown(float logprob) {
  return std::isfinite(logprob) ? static_cast<double>(logprob) : kImpossible;
}

json::Object usage_of(const Usage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.new_tokens},
          {"total_tokens", usage.prompt_tokens + usage.new_tokens},
          {"prompt_tokens_details", json::Object{{"cached_tokens", usage.reused_tokens}}}};
}

json::Value or_null(std::string_view text) {
  return text.empty() ? json::Value(nullptr) : json::Value(text);
}

std::string data(const json::Value& value) {
  return "data: " + json::dump(value) + "\n\n";
}

// As clients send them back in the next request. `numbered`: of a piece of a stream.
json::Array calls_json(const std::vector<ToolCall>& calls, bool numbered) {
  json::Array all;
  for (const ToolCall& call : calls) {
    json::Object one;
    if (numbered) one["index"] = all.size();
    one["id"] = new_id("call-");
    one["type"] = "function";
    one["function"] = json::Object{{"name", call.name}, {"arguments", call.arguments}};
    all.push_back(std::move(one));
  }
  return all;
}

json::Array bytes_of(std::string_view text) {
  json::Array bytes;
  for (const char byte : text) bytes.push_back(static_cast<int64_t>(static_cast<unsigned char>(byte)));
  return bytes;
}

}  // namespace

int64_t characters(std::string_view text) {
  return std::count_if(text.begin(), text.end(),
                       [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; });
}

std::string token_name(const Tokenizer& tokenizer, int64_t token) {
  if (tokenizer.decode(std::array{token}).empty()) return tokenizer.id_to_token(token);  // a special one
  // Behind another one: at the beginning of a text some decoders leave out a blank.
  const std::array both{token, token};
  const std::string one = tokenizer.decode(std::span(both).first(1)), two = tokenizer.decode(both);
  std::string name = two.starts_with(one) ? two.substr(one.size()) : one;
  if (name.find(kNoCharacter) != std::string::npos) return str("token_id:", token);
  return name;
}

TextFormat::TextFormat(const TextRequest& request, const ServedModel& model)
    : request_(request), model_(model), id_(new_id(request.chat ? "chatcmpl-" : "cmpl-")), created_(now()) {}

json::Object TextFormat::frame(std::string_view object) const {
  return {{"id", id_}, {"object", object}, {"created", created_}, {"model", model_.name}};
}

const Prompt& TextFormat::prompt_of(size_t choice) const {
  return request_.prompts.at(choice / static_cast<size_t>(request_.n));
}

std::string TextFormat::echoed(const Prompt& prompt) const {
  return prompt.text ? *prompt.text : model_.tokenizer->decode(prompt.ids, false);
}

json::Value TextFormat::completion_scores(const Prompt* echoed, const std::vector<ScoredToken>& prompt,
                                          const ScoredText& scored, int64_t offset) const {
  if (request_.scores < 0) return nullptr;
  json::Array tokens, own, top, offsets;
  const auto add = [&](const ScoredToken& token, int64_t where) {
    const std::string name = token_name(*model_.tokenizer, token.own.token);
    tokens.push_back(json::Value(name));
    own.push_back(shown(token.own.logprob));
    offsets.push_back(where);
    json::Object likeliest;
    // Two tokens may read alike: the likelier one counts. The token itself is among them, whatever its place.
    const auto put = [&](const std::string& text, float logprob) {
      const auto [member, fresh] = likeliest.emplace(text, shown(logprob));
      if (!fresh) member->value() = std::max(member->value().get_double(), shown(logprob));
    };
    for (const TokenScore& one : token.likeliest)
      put(one.token == token.own.token ? name : token_name(*model_.tokenizer, one.token), one.logprob);
    if (request_.scores > 0) put(name, token.own.logprob);
    top.push_back(std::move(likeliest));
  };
  if (echoed != nullptr) {
    text::TextStream stream(*model_.tokenizer, {}, true);
    int64_t place = 0;
    for (size_t i = 0; i < prompt.size(); ++i) {
      add(prompt[i], place);
      place += characters(stream.push(echoed->ids[i]));
      if (i > 0) continue;
      own.back() = nullptr;  // nothing comes before it
      top.back() = nullptr;
    }
  }
  for (size_t i = 0; i < scored.tokens.size(); ++i) add(scored.tokens[i], offset + scored.offsets[i]);
  json::Object scores{
      {"tokens", std::move(tokens)}, {"token_logprobs", std::move(own)}, {"text_offset", std::move(offsets)}};
  scores["top_logprobs"] = request_.scores > 0 ? json::Value(std::move(top)) : json::Value(nullptr);
  return scores;
}

json::Value TextFormat::chat_scores(const ScoredText& scored) const {
  if (request_.scores < 0) return nullptr;
  json::Array content;
  const auto describe = [&](const TokenScore& score) {
    const std::string name = token_name(*model_.tokenizer, score.token);
    return json::Object{{"token", name}, {"logprob", shown(score.logprob)}, {"bytes", bytes_of(name)}};
  };
  for (const ScoredToken& token : scored.tokens) {
    json::Object one = describe(token.own);
    json::Array top;
    for (const TokenScore& other : token.likeliest) top.push_back(describe(other));
    one["top_logprobs"] = std::move(top);
    content.push_back(std::move(one));
  }
  return json::Object{{"content", std::move(content)}, {"refusal", nullptr}};
}

json::Object TextFormat::completion(size_t index, const Choice& choice, const std::vector<ScoredToken>& prompt) const {
  const Prompt* before = request_.echo ? &prompt_of(index) : nullptr;
  const std::string begin = before == nullptr ? std::string() : echoed(*before);
  return {{"index", index},
          {"text", begin + choice.stream.text()},
          {"logprobs", completion_scores(before, prompt, choice.scored, characters(begin))},
          {"finish_reason", choice.ended_by}};
}

json::Object TextFormat::message(size_t index, const Choice& choice) const {
  json::Object message{{"role", "assistant"}, {"content", choice.stream.text()}, {"refusal", nullptr}};
  std::string_view ended_by = choice.ended_by;
  if (request_.calls_tools)
    if (const CalledText called = split_calls(choice.stream.text()); !called.calls.empty()) {
      message["content"] = or_null(called.content);
      message["tool_calls"] = calls_json(called.calls, false);
      ended_by = "tool_calls";
    }
  return {{"index", index},
          {"message", std::move(message)},
          {"logprobs", chat_scores(choice.scored)},
          {"finish_reason", ended_by}};
}

std::string TextFormat::whole(const std::vector<Choice>& choices, const Usage& usage) const {
  // Choice by choice into text: a list of scores as JSON values is many times as large.
  std::string text = json::dump(frame(request_.chat ? "chat.completion" : "text_completion"));
  text.pop_back();
  text += ", \"choices\": [";
  for (size_t i = 0; i < choices.size(); ++i) {
    const size_t first = i - i % static_cast<size_t>(request_.n);
    text += i == 0 ? "" : ", ";
    text += json::dump(request_.chat ? message(i, choices[i]) : completion(i, choices[i], choices[first].prompt));
  }
  return text + "], \"usage\": " + json::dump(usage_of(usage)) + "}\n";
}

std::string TextFormat::event(json::Object choice) const {
  json::Object event = frame(request_.chat ? "chat.completion.chunk" : "text_completion");
  event["choices"] = json::Array{std::move(choice)};
  if (request_.usage_at_end) event["usage"] = nullptr;
  return data(event);
}

std::string TextFormat::begin(size_t choice, const std::vector<ScoredToken>& prompt) const {
  if (request_.chat)
    return event({{"index", choice},
                  {"delta", json::Object{{"role", "assistant"}, {"content", ""}}},
                  {"logprobs", nullptr},
                  {"finish_reason", nullptr}});
  if (!request_.echo) return {};
  const Prompt& before = prompt_of(choice);
  return event({{"index", choice},
                {"text", echoed(before)},
                {"logprobs", completion_scores(&before, prompt, {}, 0)},
                {"finish_reason", nullptr}});
}

std::string TextFormat::piece(size_t choice, std::string_view text, const ScoredText& scored,
                              std::string_view ended_by) const {
  json::Object made{{"index", choice}};
  if (request_.chat) {
    json::Object delta;
    CalledText called{.content = std::string(text), .calls = {}};
    if (request_.calls_tools && !ended_by.empty()) called = split_calls(text);
    if (!called.content.empty()) delta["content"] = called.content;
    if (!called.calls.empty()) {
      delta["tool_calls"] = calls_json(called.calls, true);
      ended_by = "tool_calls";
    }
    made["delta"] = std::move(delta);
    made["logprobs"] = scored.tokens.empty() ? json::Value(nullptr) : chat_scores(scored);
  } else {
    const int64_t offset = request_.echo ? characters(echoed(prompt_of(choice))) : 0;
    made["text"] = text;
    made["logprobs"] = scored.tokens.empty() ? json::Value(nullptr) : completion_scores(nullptr, {}, scored, offset);
  }
  made["finish_reason"] = or_null(ended_by);
  return event(std::move(made));
}

std::string TextFormat::end(const Usage& usage) const {
  std::string text;
  if (request_.usage_at_end) {
    json::Object event = frame(request_.chat ? "chat.completion.chunk" : "text_completion");
    event["choices"] = json::Array();
    event["usage"] = usage_of(usage);
    text = data(event);
  }
  return text + "data: [DONE]\n\n";
}

}  // namespace arkit::serve
