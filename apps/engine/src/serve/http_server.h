#pragma once
// HTTP/1.1 for whoever answers requests: connections, limits and timeouts. Boost.Beast is seen by http_server.cpp alone
// (docs/adr/0050).

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace arkit::serve {

struct HttpRequest {
  std::string method;                                     // "GET"
  std::string path;                                       // without the query
  std::string host, origin, content_type, authorization;  // of the header; empty = not there
  std::string body;
};

struct HttpPiece {
  // These three count in the first piece of an answer.
  int status = 200;
  std::string type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers;
  std::string data;
  bool last = true;
};

// What a request is answered with, piece by piece. When the first one is the last, it is sent with its length, else in
// chunks.
class HttpAnswer {
 public:
  virtual ~HttpAnswer() = default;
  // What there is now; nullopt = nothing yet, and the request's `wake` is called when there may be. It is asked again
  // when the piece before was sent: what comes meanwhile is for the answer to gather.
  virtual std::optional<HttpPiece> next() = 0;
  // Nobody waits for it any more; next() is not called again.
  virtual void abandon() noexcept = 0;
};

using Wake = std::function<void()>;  // any thread may call it, also when the connection is gone

// Called by several threads at once; nothing may be thrown.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  // Given the head of a request, before its body is read: what it is refused with.
  virtual std::optional<HttpPiece> refuse(const HttpRequest& head) = 0;
  virtual std::shared_ptr<HttpAnswer> answer(HttpRequest&& request, Wake wake) = 0;
  // What is said of a request that the server itself refuses.
  virtual HttpPiece problem(int status, const std::string& what) = 0;
  // An answer begins to be sent; no path where none was read.
  virtual void sends(const std::string& path, int status) noexcept = 0;
};

struct HttpLimits {
  int64_t connections = 512;
  int64_t body_bytes = int64_t{16} << 20;
  int64_t all_bodies_bytes = int64_t{128} << 20;  // that are being read, all connections together
  std::chrono::milliseconds idle{75'000};         // for the head of the next request
  std::chrono::milliseconds request{30'000};      // for the body
  std::chrono::milliseconds write{30'000};        // for the client to take each 64 KiB
  std::chrono::milliseconds answer{600'000};      // for an answer to be there whole
};

struct HttpCounts {
  std::atomic<int64_t> open{0}, accepted{0}, refused{0};  // connections
};

class HttpServer {
 public:
  struct State;

  // Listens at once; port 0 = a free one. `host` is an address or a name. Throws ErrorCode::usage for a host that is
  // none of this machine's, ErrorCode::resource where the port is taken. The handler outlives the server.
  HttpServer(const std::string& host, int64_t port, const HttpLimits& limits, HttpHandler& handler);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  [[nodiscard]] int64_t port() const;
  [[nodiscard]] std::string address() const;  // "127.0.0.1", "[::1]"
  [[nodiscard]] bool loopback() const;
  [[nodiscard]] const HttpCounts& counts() const;
  void start();
  // Takes no more connections and requests; returns when the last answer is sent, or after `grace` gives the rest up.
  void stop(std::chrono::milliseconds grace);

 private:
  std::unique_ptr<State> state_;
};

}  // namespace arkit::serve
