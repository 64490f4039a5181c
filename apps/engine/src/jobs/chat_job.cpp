// `arkit chat`: a conversation that grows in the cache.
#include <algorithm>
#include <optional>

#include <ATen/ATen.h>

#include <arkit/engine/chat.h>
#include <arkit/error.h>
#include <arkit/str.h>

#include "inference/batcher.h"
#include "jobs/writing_model.h"

namespace arkit {
namespace {

json::Object message(std::string_view role, std::string_view content) {
  return {{"role", role}, {"content", content}};
}

// What is wrong with them before any model is there.
const ChatOptions& checked(const ChatOptions& options) {
  if (options.max_new_tokens < 1) throw_usage(str("max_new_tokens ", options.max_new_tokens, " must be 1 or more"));
  if (options.context_tokens < 2) throw_usage(str("context_tokens ", options.context_tokens, " must be 2 or more"));
  return options;
}

}  // namespace

struct Chat::State {
  State(const ChatOptions& given, const Registry& registry, Reporter& reporter)
      : options(checked(given)), model(writing_wish(given, true), registry, reporter), system(given.system) {
    model.load(reporter);
    context = std::min(options.context_tokens, model.engine().model().max_positions());
    sampler = std::make_shared<Sampler>(model.sampling());
    // One page: attention reads keys and values where they lie, and the system gives memory as they are written.
    batcher.emplace(model.engine(), context, 1);
  }

  [[nodiscard]] json::Array with(const std::string& said) const {
    json::Array all;
    if (!system.empty()) all.push_back(message("system", system));
    all.insert(all.end(), turns.begin(), turns.end());
    all.push_back(message("user", said));
    return all;
  }

  ChatAnswer answer(const std::vector<int64_t>& prompt, const TextSink& sink);

  const ChatOptions options;
  WritingModel model;
  std::string system;
  json::Array turns;  // messages of user and assistant
  int64_t context = 0;
  std::shared_ptr<Sampler> sampler;
  std::optional<Batcher> batcher;
  int64_t last = -1;  // the text in the cache
};

ChatAnswer Chat::State::answer(const std::vector<int64_t>& prompt, const TextSink& sink) {
  const auto length = static_cast<int64_t>(prompt.size());
  if (length >= context)
    throw_usage(str("the conversation has ", length, " tokens, and at most ", context - 1,
                    " leave room for an answer; begin anew with /reset, or give more --context_tokens where the model "
                    "has ",
                    model.engine().model().max_positions(), " positions"));
  const int64_t most = std::min(options.max_new_tokens, context - length);
  check_text(model.engine(), prompt, most, model.sampling());
  const int64_t before = last;
  last = batcher->add({.prompt = prompt,
                       .most = most,
                       .stop_ids = model.stop_ids(),
                       .sampler = sampler,
                       .keep = true,
                       .goes_on_from = before});
  ChatAnswer made{.text = {}, .prompt_tokens = length, .ended_by = "interrupt"};
  text::TextStream stream = model.stream();
  const auto show = [&](const std::string& piece) {
    if (!piece.empty()) sink(piece);
  };
  bool ended = false;
  while (!ended && !interrupted()) {
    const SessionToken token = batcher->step().at(0);
    ++made.new_tokens;
    made.reused_tokens = token.reused;
    show(stream.push(token.token));
    ended = token.last || stream.stopped();
    if (ended) made.ended_by = ended_by(stream, token, most < options.max_new_tokens ? "context" : "max_new_tokens");
  }
  show(stream.finish());
  (void)batcher->cancel(last);  // where it has not ended by itself
  made.text = stream.text();
  return made;
}

Chat::Chat(const ChatOptions& options, const Registry& registry, Reporter& reporter)
    : state_(std::make_unique<State>(options, registry, reporter)) {}

Chat::~Chat() = default;

ChatAnswer Chat::say(const std::string& said, const TextSink& sink) {
  ChatAnswer made;
  try {
    made = state_->answer(state_->model.encode_messages(state_->with(said)), sink);
  } catch (...) {
    (void)state_->batcher->cancel(state_->last);
    throw;
  }
  state_->turns.push_back(message("user", said));
  state_->turns.push_back(message("assistant", made.text));
  return made;
}

void Chat::reset() {
  state_->turns.clear();
}

void Chat::set_system(const std::string& text) {
  state_->system = text;
}

}  // namespace arkit
