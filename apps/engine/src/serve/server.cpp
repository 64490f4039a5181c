#include <arkit/engine/server.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include <arkit/engine/session.h>
#include <arkit/error.h>
#include <arkit/str.h>

#include "jobs/token_source.h"
#include "jobs/writing_model.h"
#include "serve/api.h"
#include "util/data_file.h"

namespace arkit {
namespace {

std::chrono::milliseconds milliseconds(double seconds) {
  return std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000));
}

void check_least(std::string_view name, int64_t value, int64_t least) {
  if (value < least) throw_usage(str(name, " ", value, " must be ", least, " or more"));
}

void check_seconds(std::string_view name, double value, double least) {
  if (!(value >= least && value <= 1e6))
    throw_usage(str(name, " ", value, " must be from ", least, " to 1000000 seconds"));
}

// What is wrong with them before any model is there.
const ServeOptions& checked(const ServeOptions& options) {
  check_least("context_tokens", options.context_tokens.value_or(2), 2);
  check_least("max_new_tokens", options.max_new_tokens.value_or(1), 1);
  check_least("max_running", options.max_running, 1);
  check_least("step_tokens", options.step_tokens, 1);
  check_least("max_waiting", options.max_waiting, 1);
  check_least("max_connections", options.max_connections, 1);
  check_least("max_body_size", options.max_body_bytes, 1024);
  check_seconds("timeout", options.timeout, 0.1);
  check_seconds("answer_timeout", options.answer_timeout, 0.1);
  check_seconds("stop_timeout", options.stop_timeout, 0.0);
  return options;
}

// How tokens are picked where a request says nothing: as the model's makers recommend, else as OpenAI does.
SamplingOptions usual_sampling(const ServeOptions& options, const WritingModel& model) {
  SamplingOptions sampling = options.model_defaults ? model.sampling() : SamplingOptions();
  if (sampling.temperature == 0.0) sampling.temperature = 1.0;
  return sampling;
}

// Which defaults a model has is said where they are all that counts, and here requests say more.
class WithoutDefaults final : public Reporter {
 public:
  explicit WithoutDefaults(Reporter& reporter) : reporter_(reporter) {}
  void step(std::string_view what) override { reporter_.step(what); }
  void warn(std::string_view message) override { reporter_.warn(message); }
  void progress(const Progress& progress) override { reporter_.progress(progress); }

 private:
  Reporter& reporter_;
};

std::string name_of(const ServeOptions& options) {
  if (!options.served_name.empty()) return options.served_name;
  std::filesystem::path path = std::filesystem::path(options.model).lexically_normal();
  if (path.filename().empty()) path = path.parent_path();
  const std::string name = path.filename().string();
  return name.empty() || name == "." ? "model" : name;
}

serve::HttpLimits limits_of(const ServeOptions& options) {
  serve::HttpLimits limits;
  limits.connections = options.max_connections;
  limits.body_bytes = options.max_body_bytes;
  limits.all_bodies_bytes = 8 * options.max_body_bytes;
  limits.request = limits.write = milliseconds(options.timeout);
  limits.idle = milliseconds(2.5 * options.timeout);
  limits.answer = milliseconds(options.answer_timeout);
  return limits;
}

}  // namespace

struct Server::State {
  State(const ServeOptions& given, const Registry& registry, Reporter& reporter)
      : options(checked(given)),
        without_defaults(reporter),
        texts({.model = given.model,
               .sampling = {},
               .model_defaults = given.model_defaults,
               .stop = {},
               .dtype = given.dtype,
               .backend = backend_wish(given),
               .head_bits = given.head_bits,
               .kv_cache_dtype = given.kv_cache_dtype},
              registry, without_defaults),
        session({.model = given.model,
                 .backend = given.backend,
                 .device = given.device,
                 .prepared_cache = given.prepared_cache.string(),
                 .dtype = given.dtype,
                 .compute = given.compute,
                 .head_bits = given.head_bits,
                 .kv_cache_dtype = given.kv_cache_dtype,
                 .exact = given.exact,
                 .cache_tokens = given.cache_tokens,
                 .page_size = given.page_size,
                 .max_running = given.max_running,
                 .step_tokens = given.step_tokens},
                registry, reporter) {
    const int64_t cache = given.cache_tokens / given.page_size * given.page_size;
    model.name = name_of(given);
    model.path = given.model;
    model.created =
        std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
    model.tokenizer = &texts.tokenizer();
    model.stop_ids = texts.stop_ids();
    model.sampling = usual_sampling(given, texts);
    model.vocab_size = session.vocab_size();
    model.most_tokens = std::min({session.max_positions(), cache, given.context_tokens.value_or(cache)});
    model.most_new_tokens = std::min(given.max_new_tokens.value_or(model.most_tokens), model.most_tokens);
    model.most_texts = given.max_waiting;
    model.token_bytes = [this] {
      std::call_once(words_made, [this] { words = std::make_shared<const TokenBytes>(texts.tokenizer()); });
      return words;
    };
    engine.emplace(session, given.max_waiting);
    const std::string page = read_text_file(shared_data_folder("serve") / "chat.html");
    // Whether an address is of this machine alone is known once it listens.
    http.emplace(given.host, given.port, limits_of(given), door);
    api.emplace(model, *engine, serve::ApiOptions{given.api_key, http->loopback(), page});
    api->count(http->counts());
    door.api = &*api;
    if (!http->loopback() && given.api_key.empty())
      reporter.warn(str("whoever reaches ", http->address(), " may use the model; --api_key asks for a key"));
  }

  // The listener needs a handler, and the handler to know where it listens.
  struct Door final : serve::HttpHandler {
    std::optional<serve::HttpPiece> refuse(const serve::HttpRequest& head) override { return api->refuse(head); }
    std::shared_ptr<serve::HttpAnswer> answer(serve::HttpRequest&& request, serve::Wake wake) override {
      return api->answer(std::move(request), std::move(wake));
    }
    serve::HttpPiece problem(int status, const std::string& what) override { return api->problem(status, what); }
    void sends(const std::string& path, int status) noexcept override { api->sends(path, status); }
    void hurry() noexcept override { api->hurry(); }
    serve::Api* api = nullptr;
  };

  const ServeOptions options;
  WithoutDefaults without_defaults;  // while it is opened
  WritingModel texts;
  Session session;
  std::once_flag words_made;
  std::shared_ptr<const TokenBytes> words;
  serve::ServedModel model;
  std::optional<serve::EngineThread> engine;
  Door door;
  std::optional<serve::Api> api;
  std::optional<serve::HttpServer> http;
  std::atomic<bool> stops{false};
};

Server::Server(const ServeOptions& options, const Registry& registry, Reporter& reporter)
    : state_(std::make_unique<State>(options, registry, reporter)) {}

Server::~Server() {
  state_->http.reset();
}

int64_t Server::port() const {
  return state_->http->port();
}

std::string Server::url() const {
  return str("http://", state_->http->address(), ":", port());
}

const std::string& Server::model() const {
  return state_->model.name;
}

json::Object Server::run() {
  constexpr std::chrono::milliseconds kLook{50};
  state_->http->start();
  while (!state_->stops && !interrupted()) std::this_thread::sleep_for(kLook);
  state_->http->stop(milliseconds(state_->options.stop_timeout));
  const serve::EngineCounts counts = state_->engine->counts();
  return {{"url", url()},
          {"model", model()},
          {"requests", state_->api->requests()},
          {"connections", state_->http->counts().accepted.load()},
          {"prompt_tokens", counts.prompt_tokens},
          {"reused_tokens", counts.reused_tokens},
          {"new_tokens", counts.new_tokens}};
}

void Server::stop() noexcept {
  state_->stops = true;
}

}  // namespace arkit
