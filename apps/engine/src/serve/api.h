#pragma once
// Which request is what, and who may ask.

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "serve/engine_thread.h"
#include "serve/http_server.h"
#include "serve/served_model.h"

namespace arkit::serve {

struct ApiOptions {
  std::string key;    // empty = everybody may ask
  bool local = true;  // listens on a loopback address
  std::string page;   // the page at "/"
};

class Api final : public HttpHandler {
 public:
  // `model` and `engine` outlive it.
  Api(const ServedModel& model, EngineThread& engine, ApiOptions options);
  // Of the server that asks it, for /metrics; before the first request.
  void count(const HttpCounts& counts) { connections_ = &counts; }

  std::optional<HttpPiece> refuse(const HttpRequest& head) override;
  std::shared_ptr<HttpAnswer> answer(HttpRequest&& request, Wake wake) override;
  HttpPiece problem(int status, const std::string& what) override;
  void sends(const std::string& path, int status) noexcept override;

  [[nodiscard]] int64_t requests() const;

 private:
  using Route = std::shared_ptr<HttpAnswer> (Api::*)(const HttpRequest& request, Wake wake);
  struct Place {
    std::string_view path, method;
    Route route;
    bool open = false;  // for everybody, also without the key
  };
  [[nodiscard]] static const Place* find(const std::string& path);
  [[nodiscard]] bool may_ask(const std::string& authorization) const;

  std::shared_ptr<HttpAnswer> page(const HttpRequest& request, Wake wake);
  std::shared_ptr<HttpAnswer> health(const HttpRequest& request, Wake wake);
  std::shared_ptr<HttpAnswer> metrics(const HttpRequest& request, Wake wake);
  std::shared_ptr<HttpAnswer> models(const HttpRequest& request, Wake wake);
  std::shared_ptr<HttpAnswer> completions(const HttpRequest& request, Wake wake);
  std::shared_ptr<HttpAnswer> chat(const HttpRequest& request, Wake wake);
  std::shared_ptr<HttpAnswer> embeddings(const HttpRequest& request, Wake wake);
  std::shared_ptr<HttpAnswer> tokenizer_info(const HttpRequest& request, Wake wake);
  std::shared_ptr<HttpAnswer> tokenize(const HttpRequest& request, Wake wake);
  std::shared_ptr<HttpAnswer> detokenize(const HttpRequest& request, Wake wake);

  const ServedModel& model_;
  EngineThread& engine_;
  const ApiOptions options_;
  const HttpCounts* connections_ = nullptr;
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, int>, int64_t> answered_;  // by path and status
};

}  // namespace arkit::serve
