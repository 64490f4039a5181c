#include "harness/served_model.h"

#include <atomic>
#include <exception>
#include <thread>

#include <arkit/engine/server.h>
#include <arkit/error.h>

namespace arkit::harness {
namespace {

ServeOptions serve_options(const TaskModelOptions& model, const std::string& dtype) {
  ServeOptions options;
  options.model = model.model;
  options.port = 0;
  options.model_defaults = false;  // the harness says how text is written
  options.dtype = dtype.empty() ? "float32" : dtype;
  options.backend = model.backend;
  options.device = model.device;
  options.prepared_cache = model.prepared_cache;
  options.exact = model.backend.empty();
  constexpr int64_t kStored = 16;
  options.head_bits = kStored;
  options.answer_timeout = 3600;
  options.stop_timeout = 0.1;
  return options;
}

}  // namespace

struct ServedModel::State {
  State(const ServeOptions& options, const Registry& registry, Reporter& reporter)
      : server(options, registry, reporter), thread([this] {
          try {
            (void)server.run();
          } catch (...) {
            failure = std::current_exception();
          }
          ended = true;
        }) {}
  ~State() {
    server.stop();
    thread.join();
  }

  Server server;
  std::exception_ptr failure;  // before `ended`
  std::atomic<bool> ended = false;
  std::thread thread;
};

ServedModel::ServedModel(const TaskModelOptions& model, const std::string& dtype, const Registry& registry,
                         Reporter& reporter)
    : state_(std::make_unique<State>(serve_options(model, dtype), registry, reporter)) {}

ServedModel::~ServedModel() = default;

std::string ServedModel::url() const {
  return state_->server.url();
}

std::string ServedModel::name() const {
  return state_->server.model();
}

void ServedModel::check() const {
  if (!state_->ended) return;
  if (state_->failure) std::rethrow_exception(state_->failure);
  throw_if_interrupted();
  throw_resource("the server of the model has stopped by itself");
}

}  // namespace arkit::harness
