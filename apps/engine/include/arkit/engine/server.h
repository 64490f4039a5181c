#pragma once
// A model behind HTTP, as OpenAI's clients call it (docs/SERVER.md): texts of all clients grow side by side in one
// Session, whose one thread the server has.

#include <cstdint>
#include <memory>
#include <string>

#include <arkit/engine/serve_options.h>
#include <arkit/export.h>
#include <arkit/json.h>
#include <arkit/log.h>
#include <arkit/registry.h>

namespace arkit {

class ARKIT_EXPORT Server {
 public:
  // Loads the whole model, then listens; requests wait for run(). `registry` outlives the server, `reporter` the
  // constructor. Throws what opening a model throws, ErrorCode::usage for values outside their range and a host that is
  // none, ErrorCode::resource for a port that is taken.
  Server(const ServeOptions& options, const Registry& registry, Reporter& reporter);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  [[nodiscard]] int64_t port() const;              // the one it got, where any was asked for
  [[nodiscard]] std::string url() const;           // "http://127.0.0.1:8000"
  [[nodiscard]] const std::string& model() const;  // what requests call it

  // Answers requests until stop() or an interrupt (log.h); then takes no new ones and ends when the answers that are on
  // their way are sent, at the latest after options.stop_timeout. Says what was done.
  [[nodiscard]] json::Object run();
  void stop() noexcept;  // any thread

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace arkit
