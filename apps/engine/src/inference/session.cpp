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

struct Session::State {
  State(const SessionOptions& options, const Registry& registry)
      : source(open_source(options.model, registry)),
        engine(*source, registry, compute_dtype(options.dtype),
               {options.backend, options.device, options.prepared_cache}, nobody) {
    if (options.page_size < 1 || options.cache_tokens < options.page_size)
      throw_usage(str("a cache of ", options.cache_tokens, " tokens in pages of ", options.page_size,
                      " has no room; expected at least one page of at least one token"));
    engine.use_whole_blocks(options.head_bits, options.kv_cache_dtype);
    engine.load_all();
    const int64_t page_size = engine.page_size(options.page_size);
    batcher.emplace(engine, page_size, std::max<int64_t>(1, options.cache_tokens / page_size));
  }

  Reporter nobody;
  std::unique_ptr<ModelSource> source;
  Engine engine;
  std::optional<Batcher> batcher;
};

Session::Session(const SessionOptions& options, const Registry& registry)
    : state_(std::make_unique<State>(options, registry)) {}

Session::~Session() = default;

int64_t Session::add(const SessionRequest& request) {
  check_text(state_->engine, request.prompt, request.max_new_tokens, request.sampling);
  return state_->batcher->add({.prompt = request.prompt,
                               .most = request.max_new_tokens,
                               .stop_ids = request.stop_ids,
                               .sampler = std::make_shared<Sampler>(request.sampling),
                               .keep = request.keep,
                               .goes_on_from = request.goes_on_from});
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

int64_t Session::unfinished() const {
  return state_->batcher->waiting() + state_->batcher->running();
}

}  // namespace arkit
