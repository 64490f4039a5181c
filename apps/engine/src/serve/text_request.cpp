#include "serve/text_request.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <random>

#include <arkit/str.h>

#include "serve/text_fields.h"
#include "text/text_stream.h"

namespace arkit::serve {
namespace {

constexpr int64_t kMostScores = 100;
constexpr size_t kMostStops = 64;

int64_t chance() {
  std::random_device device;
  return static_cast<int64_t>((uint64_t{device()} << 20) ^ device());
}

std::map<int64_t, double> read_bias(const json::Object* given, const ServedModel& model) {
  std::map<int64_t, double> bias;
  if (given == nullptr) return bias;
  for (const auto& [key, value] : *given) {
    int64_t token = -1;
    const auto parsed = std::from_chars(key.data(), key.data() + key.size(), token);
    if (parsed.ec != std::errc() || parsed.ptr != key.data() + key.size() || token < 0 || token >= model.vocab_size)
      throw_field("logit_bias",
                  str("has the key '", printable(key, 40), "'; expected a token id below ", model.vocab_size));
    if (!value.is_number() || !(std::abs(value.to_number<double>()) <= 100.0))
      throw_field("logit_bias", str("of token ", token, " must be a number from -100 to 100"));
    bias[token] = value.to_number<double>();
  }
  return bias;
}

}  // namespace

void read_common(Fields& fields, const ServedModel& model, TextRequest& request) {
  fields.known("model");
  fields.known("user");
  request.sampling = model.sampling;
  SamplingOptions& sampling = request.sampling;
  const auto number = [&](std::string_view name, double& value, double least, double most) {
    value = fields.number(name, least, most).value_or(value);
  };
  number("temperature", sampling.temperature, 0.0, 100.0);
  number("top_p", sampling.top_p, 0.0, 1.0);
  sampling.top_p = std::max(sampling.top_p, 1e-9);  // 0 = the likeliest alone
  number("min_p", sampling.min_p, 0.0, 1.0);
  number("repetition_penalty", sampling.repetition_penalty, 1e-3, 100.0);
  number("frequency_penalty", sampling.frequency_penalty, -2.0, 2.0);
  number("presence_penalty", sampling.presence_penalty, -2.0, 2.0);
  sampling.top_k = std::max<int64_t>(fields.integer("top_k", -1, kMostTokens).value_or(sampling.top_k), 0);
  sampling.logit_bias = read_bias(fields.object("logit_bias"), model);
  const auto seed = fields.integer("seed", -kMostTokens, kMostTokens);
  sampling.seed = seed ? *seed : chance();
  read_response_format(fields, model, request);

  request.n = fields.integer("n", 1, model.most_texts).value_or(1);
  request.stream = fields.boolean("stream").value_or(false);
  if (const json::Object* options = fields.object("stream_options")) {
    Fields inner(*options);
    request.usage_at_end = inner.boolean("include_usage").value_or(false);
  }
  request.stop = fields.texts("stop", kMostStops);
  text::check_stop_texts(request.stop);
  if (!fields.boolean("ignore_eos").value_or(false)) request.stop_ids = model.stop_ids;
  for (const std::string& stop : request.stop) {  // special tokens are no part of an output's text
    const std::optional<int64_t> id = model.tokenizer->token_to_id(stop);
    if (id && model.tokenizer->decode(std::array{*id}).empty()) request.stop_ids.push_back(*id);
  }
  if (const json::Array* ids = fields.array("stop_token_ids"))
    for (const json::Value& id : *ids) {
      if (!id.is_int64()) throw_field("stop_token_ids", "must be a list of token ids");
      request.stop_ids.push_back(id.get_int64());
    }
}

namespace {

int64_t read_id(const json::Value& id, const ServedModel& model) {
  if (!id.is_int64() || id.get_int64() < 0 || id.get_int64() >= model.vocab_size)
    throw_field("prompt", str("has ", printable(json::dump(id), 60),
                              " among its token ids; expected whole numbers from 0 to ", model.vocab_size - 1));
  return id.get_int64();
}

std::vector<Prompt> read_prompts(Fields& fields, const ServedModel& model, bool special_tokens) {
  const json::Value* given = fields.any("prompt");
  if (given == nullptr) throw_field("prompt", "is missing; give a text, token ids, or a list of either");
  std::vector<Prompt> prompts;
  const auto text = [&](const json::Value& value) {
    const std::string_view words = value.get_string();
    prompts.push_back({model.tokenizer->encode(words, special_tokens), std::string(words)});
  };
  const auto ids = [&](const json::Array& list) {
    Prompt prompt;
    for (const json::Value& id : list) prompt.ids.push_back(read_id(id, model));
    prompts.push_back(std::move(prompt));
  };
  if (given->is_string()) {
    text(*given);
    return prompts;
  }
  if (!given->is_array() || given->get_array().empty())
    throw_field("prompt", "must be a text, token ids, or a list of either that is not empty");
  const json::Array& list = given->get_array();
  if (list.front().is_number()) {
    ids(list);
    return prompts;
  }
  if (static_cast<int64_t>(list.size()) > model.most_texts)
    throw_field("prompt", str("has ", list.size(), " texts; at most ", model.most_texts, " are taken at once"));
  for (const json::Value& one : list) {
    if (one.is_string())
      text(one);
    else if (one.is_array())
      ids(one.get_array());
    else
      throw_field("prompt", "must be a text, token ids, or a list of either");
  }
  return prompts;
}

}  // namespace

void check_sizes(const TextRequest& request, const ServedModel& model) {
  const std::string_view field = request.chat ? "messages" : "prompt";
  for (const Prompt& prompt : request.prompts) {
    if (prompt.ids.empty()) throw_field(field, "has no tokens; give it some text");
    if (static_cast<int64_t>(prompt.ids.size()) >= model.most_tokens)
      throw ApiError(400,
                     str("'", field, "' has ", prompt.ids.size(), " tokens, and at most ", model.most_tokens,
                         " have room with an answer; give less"),
                     "context_length_exceeded", std::string(field));
  }
  const auto texts = static_cast<int64_t>(request.prompts.size());
  if (request.n > model.most_texts / texts)
    throw_field("n", str("asks for ", request.n, " answers to ", texts, " prompts; at most ", model.most_texts,
                         " texts are taken at once"));
}

void check_model_name(const json::Object& body, const ServedModel& model) {
  Fields fields(body);
  const std::optional<std::string> name = fields.text("model");
  if (!name || *name == model.name || *name == model.path) return;
  throw ApiError(404, str("there is no model '", printable(*name, 100), "' here; the model is '", model.name, "'"),
                 "model_not_found", "model");
}

TextRequest read_completion(const json::Object& body, const ServedModel& model) {
  check_model_name(body, model);
  TextRequest request;
  Fields fields(body);
  read_common(fields, model, request);
  fields.only("suffix", "", "texts cannot be filled in here, only gone on with; leave it out");
  if (const auto best = fields.integer("best_of", 1, model.most_texts); best && *best != request.n)
    throw_field("best_of", "is not the same as 'n'; answers are not weighed here, leave it out");
  request.echo = fields.boolean("echo").value_or(false);
  request.scores = fields.integer("logprobs", 0, kMostScores).value_or(-1);
  request.most = fields.integer("max_tokens", 0, kMostTokens).value_or(16);
  if (request.most == 0 && !request.echo)
    throw_field("max_tokens", "0 needs \"echo\": true; else nothing would be answered");
  // The tokens of a text that is scored are counted by whoever sent it: none is put before them.
  const bool scored = request.echo && request.scores >= 0;
  const bool special = fields.boolean("add_special_tokens").value_or(!scored);
  request.prompts = read_prompts(fields, model, special);
  check_sizes(request, model);
  request.ignored = fields.ignored();
  return request;
}

std::vector<SessionRequest> session_requests(const TextRequest& request, const ServedModel& model) {
  std::vector<SessionRequest> texts;
  for (const Prompt& prompt : request.prompts) {
    const int64_t room = std::min(model.most_tokens - static_cast<int64_t>(prompt.ids.size()), model.most_new_tokens);
    const bool scored = request.echo && request.scores >= 0;
    for (int64_t choice = 0; choice < request.n; ++choice) {
      SessionRequest text{.prompt = prompt.ids,
                          .max_new_tokens = std::min(request.most, room),
                          .stop_ids = request.stop_ids,
                          .sampling = request.sampling,
                          .keep = !scored,
                          .goes_on_from = -1,
                          .share = !scored,
                          .scores = request.scores,
                          .score_prompt = (scored && choice == 0) || request.most == 0};
      text.sampling.seed += choice;
      texts.push_back(std::move(text));
    }
  }
  return texts;
}

}  // namespace arkit::serve
