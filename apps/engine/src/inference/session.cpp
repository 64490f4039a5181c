#include <arkit/engine/session.h>

#include <algorithm>
#include <optional>
#include <utility>

#include <ATen/ATen.h>

#include <arkit/engine/open_source.h>
#include <arkit/error.h>
#include <arkit/str.h>

#include "inference/batcher.h"

namespace arkit {
namespace {

BackendWish wish_of(const SessionOptions& options) {
  BackendWish wish(options.backend, options.device, options.prepared_cache);
  wish.compute = options.compute;
  wish.exact = options.exact;
  return wish;
}

}  // namespace

struct Session::State {
  State(const SessionOptions& options, const Registry& registry, Reporter& reporter)
      : source(open_source(options.model, registry)),
        engine(*source, registry, compute_dtype(options.dtype), wish_of(options), reporter) {
    if (options.max_running < 0 || options.step_tokens < 0)
      throw_usage("max_running and step_tokens of a session must be 0 (no limit) or more");
    if (options.page_size < 1 || options.cache_tokens < options.page_size)
      throw_usage(str("a cache of ", options.cache_tokens, " tokens in pages of ", options.page_size,
                      " has no room; expected at least one page of at least one token"));
    if (!options.exact) engine.use_whole_blocks(options.head_bits, options.kv_cache_dtype);
    engine.load_all();
    const int64_t page_size = engine.page_size(options.page_size);
    batcher.emplace(engine, page_size, std::max<int64_t>(1, options.cache_tokens / page_size),
                    BatchLimits{options.max_running, options.step_tokens});
  }

  std::unique_ptr<ModelSource> source;
  Engine engine;
  std::optional<Batcher> batcher;
};

Session::Session(const SessionOptions& options, const Registry& registry, Reporter& reporter)
    : state_(std::make_unique<State>(options, registry, reporter)) {}

namespace {

Reporter& nobody() {
  static Reporter silent;
  return silent;
}

}  // namespace

Session::Session(const SessionOptions& options, const Registry& registry) : Session(options, registry, nobody()) {}

Session::~Session() = default;

int64_t Session::add(const SessionRequest& request) {
  const bool scores_alone = request.score_prompt && request.max_new_tokens == 0;
  check_text(state_->engine, request.prompt, scores_alone ? 1 : request.max_new_tokens, request.sampling);
  if (request.scores < -1 || request.scores > vocab_size())
    throw_usage(str("scores of ", request.scores, " tokens cannot be given; expected 0 to the vocabulary's ",
                    vocab_size(), ", or -1 for none"));
  return state_->batcher->add({.prompt = request.prompt,
                               .most = request.max_new_tokens,
                               .stop_ids = request.stop_ids,
                               .sampler = std::make_shared<Sampler>(request.sampling),
                               .keep = request.keep,
                               .goes_on_from = request.goes_on_from,
                               .share = request.share,
                               .scores = request.scores,
                               .score_prompt = request.score_prompt});
}

bool Session::cancel(int64_t sequence) {
  return state_->batcher->cancel(sequence);
}

bool Session::release(int64_t sequence) {
  return state_->batcher->release(sequence);
}

std::vector<SessionToken> Session::step() {
  return state_->batcher->step();
}

SessionState Session::state() const {
  return state_->batcher->state();
}

int64_t Session::vocab_size() const {
  return state_->engine.model().vocab_size();
}

int64_t Session::max_positions() const {
  return state_->engine.model().max_positions();
}

int64_t Session::unfinished() const {
  return state_->batcher->waiting() + state_->batcher->running();
}

}  // namespace arkit
