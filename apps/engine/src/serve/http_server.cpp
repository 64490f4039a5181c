#include "serve/http_server.h"

#include <algorithm>
#include <array>
#include <condition_variable>
#include <mutex>
#include <set>
#include <string_view>
#include <thread>

#include <sys/socket.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::serve {
namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using boost::system::error_code;
using std::chrono::steady_clock;

namespace {

constexpr int kThreads = 2;
constexpr size_t kSlice = size_t{64} << 10;
constexpr uint32_t kHeadBytes = 16 << 10;
constexpr std::chrono::milliseconds kLinger{2'000};

auto resumed(error_code& error) {
  return asio::redirect_error(asio::use_awaitable, error);
}

// The client's fault, and not that it left.
bool is_malformed(const error_code& error) {
  return error && error.category() == make_error_code(http::error::bad_method).category() &&
         error != http::error::end_of_stream && error != http::error::partial_message;
}

}  // namespace

class Connection;

struct HttpServer::State {
  State(const HttpLimits& wanted, HttpHandler& answers) : limits(wanted), handler(answers) {}

  asio::awaitable<void> accept();
  void forget(Connection& connection);

  const HttpLimits limits;
  HttpHandler& handler;
  asio::io_context context{kThreads};
  tcp::acceptor acceptor{context};
  tcp::endpoint endpoint;
  std::vector<std::thread> threads;
  HttpCounts counts;
  std::atomic<int64_t> bodies{0};  // bytes
  std::atomic<bool> stopping{false};
  std::mutex mutex;
  std::condition_variable left;
  std::set<std::shared_ptr<Connection>> connections;
};

// Bytes of a body that is being read.
class BodyRoom {
 public:
  BodyRoom(std::atomic<int64_t>& all, int64_t bytes) : all_(all), bytes_(bytes), before_(all.fetch_add(bytes)) {}
  ~BodyRoom() { all_ -= bytes_; }
  BodyRoom(const BodyRoom&) = delete;
  BodyRoom& operator=(const BodyRoom&) = delete;
  [[nodiscard]] bool within(int64_t most) const { return before_ + bytes_ <= most; }

 private:
  std::atomic<int64_t>& all_;
  const int64_t bytes_, before_;
};

// Everything happens on the strand of its socket, but for wake(). What coroutines are given they own, and nothing that an
// expression makes lives across a co_await: GCC 12 ends such lives twice or too early.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(HttpServer::State& server, tcp::socket socket)
      : server_(server), stream_(std::move(socket)), timer_(stream_.get_executor()) {}

  asio::awaitable<void> run() {
    try {
      for (bool goes_on = true; goes_on;) goes_on = co_await serve_one();
    } catch (const std::exception&) {  // memory: this connection ends
      if (answer_) answer_->abandon();
    }
    error_code ignored;
    stream_.socket().shutdown(tcp::socket::shutdown_both, ignored);
    stream_.close();
  }

  // The server stops: whoever waits for a request need not.
  void hurry(bool at_once) {
    asio::post(stream_.get_executor(), [self = shared_from_this(), at_once] {
      if (self->idle_ || at_once) self->stream_.close();
      if (at_once) self->gone_ = true;
      if (at_once) self->timer_.cancel();
    });
  }

 private:
  using Parser = http::request_parser<http::string_body>;

  // False = the connection ends.
  asio::awaitable<bool> serve_one() {
    Parser parser;
    parser.header_limit(kHeadBytes);
    parser.body_limit(static_cast<uint64_t>(server_.limits.body_bytes));
    error_code error;
    path_.clear();
    idle_ = true;
    if (server_.stopping) co_return false;
    stream_.expires_after(server_.limits.idle);
    co_await http::async_read_header(stream_, buffer_, parser, resumed(error));
    idle_ = false;
    std::optional<HttpPiece> refused;
    if (error == http::error::body_limit)
      refused = too_large();
    else if (error == http::error::header_limit || error == http::error::buffer_overflow)
      refused = server_.handler.problem(431, str("the head of a request has at most ", kHeadBytes, " bytes"));
    else if (is_malformed(error))
      refused = malformed(error);
    else if (error)
      co_return false;
    if (refused) {
      (void)co_await refuse(std::move(*refused));
      co_return false;
    }

    keeps_ = parser.get().keep_alive();
    old_ = parser.get().version() < 11;
    HttpRequest request = head_of(parser.get());
    path_ = request.path;
    head_only_ = request.method == "HEAD";
    refused =
        server_.stopping ? server_.handler.problem(503, "the server is stopping") : server_.handler.refuse(request);
    const auto length = parser.content_length();
    const bool whole = parser.is_done();
    const BodyRoom room(server_.bodies, whole ? 0 : length ? static_cast<int64_t>(*length) : server_.limits.body_bytes);
    if (!refused && !room.within(server_.limits.all_bodies_bytes))
      refused = server_.handler.problem(503, "too many large requests are being read; try again later");
    if (refused) {
      bool sent = false;
      if (whole)
        sent = co_await send_whole(std::move(*refused));
      else
        sent = co_await refuse(std::move(*refused));
      co_return sent&& keeps_;
    }
    if (!whole && beast::iequals(parser.get()[http::field::expect], "100-continue")) {
      std::string go_on = "HTTP/1.1 100 Continue\r\n\r\n";
      const bool sent = co_await write(std::move(go_on));
      if (!sent) co_return false;
    }
    stream_.expires_after(server_.limits.request);
    co_await http::async_read(stream_, buffer_, parser, resumed(error));
    stream_.expires_never();
    if (error == http::error::body_limit)
      refused = too_large();
    else if (is_malformed(error))
      refused = malformed(error);
    else if (error)
      co_return false;
    if (refused) {
      (void)co_await refuse(std::move(*refused));
      co_return false;
    }
    request.body = std::move(parser.get().body());
    answer_ = server_.handler.answer(std::move(request), waker());
    const bool sent = co_await send_answer();
    if (!sent) answer_->abandon();
    answer_.reset();
    error_code ignored;
    stream_.socket().cancel(ignored);  // watching for the client to leave
    co_return sent&& keeps_ && !server_.stopping;
  }

  static HttpRequest head_of(const http::request<http::string_body>& head) {
    const auto field = [&](http::field name) { return std::string(head[name]); };
    const std::string_view target(head.target().data(), head.target().size());
    return {.method = std::string(head.method_string()),
            .path = std::string(target.substr(0, target.find('?'))),
            .host = field(http::field::host),
            .origin = field(http::field::origin),
            .content_type = field(http::field::content_type),
            .authorization = field(http::field::authorization),
            .body = {}};
  }

  Wake waker() {
    woken_ = std::make_shared<std::atomic<bool>>(false);
    return [weak = weak_from_this(), woken = woken_, executor = stream_.get_executor()] {
      if (woken->exchange(true)) return;  // it will look
      asio::post(executor, [weak] {
        if (const auto self = weak.lock()) self->timer_.cancel();
      });
    };
  }

  void watch() {
    stream_.socket().async_wait(tcp::socket::wait_read, [weak = weak_from_this()](const error_code& error) {
      if (const auto self = weak.lock(); self && !error) self->look_whether_gone();
    });
  }

  void look_whether_gone() {
    char byte = 0;
    const ssize_t read = ::recv(stream_.socket().native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (read > 0) return;  // its next request
    gone_ = true;
    timer_.cancel();
  }

  // nullopt = the client is gone.
  asio::awaitable<std::optional<HttpPiece>> next_piece(steady_clock::time_point deadline) {
    error_code ignored;
    for (;;) {
      *woken_ = false;
      if (gone_) co_return std::nullopt;
      std::optional<HttpPiece> piece = answer_->next();
      if (piece) co_return piece;
      if (steady_clock::now() >= deadline) {
        answer_->abandon();
        keeps_ = false;
        piece = server_.handler.problem(504, "the answer takes too long; ask for fewer tokens");
        co_return piece;
      }
      timer_.expires_at(deadline);
      if (*woken_) continue;
      co_await timer_.async_wait(resumed(ignored));
    }
  }

  asio::awaitable<bool> send_answer() {
    const auto deadline = steady_clock::now() + server_.limits.answer;
    gone_ = false;
    watch();
    std::optional<HttpPiece> piece = co_await next_piece(deadline);
    if (!piece) co_return false;
    if (piece->last) {
      const bool sent = co_await send_whole(std::move(*piece));
      co_return sent;
    }
    const bool chunks = !old_;
    if (old_) keeps_ = false;
    std::string out = head_text(*piece, chunks ? "Transfer-Encoding: chunked\r\n" : "");
    for (;;) {
      const bool last = piece->last;
      if (!piece->data.empty())
        out += chunks ? str(std::hex, piece->data.size(), "\r\n", piece->data, "\r\n") : piece->data;
      if (last && chunks) out += "0\r\n\r\n";
      const bool sent = co_await write(std::move(out));
      if (!sent || last) co_return sent;
      piece = co_await next_piece(deadline);
      if (!piece) co_return false;
      out.clear();
    }
  }

  asio::awaitable<bool> send_whole(HttpPiece piece) {
    std::string out = head_text(piece, str("Content-Length: ", piece.data.size(), "\r\n"));
    if (!head_only_) out += piece.data;
    piece.data.clear();
    const bool sent = co_await write(std::move(out));
    co_return sent&& keeps_;
  }

  std::string head_text(const HttpPiece& piece, const std::string& length) const {
    server_.handler.sends(path_, piece.status);
    std::string text = str(old_ ? "HTTP/1.0 " : "HTTP/1.1 ", piece.status, " ",
                           std::string_view(http::obsolete_reason(static_cast<http::status>(piece.status))), "\r\n",
                           "Server: arkit\r\nContent-Type: ", piece.type, "\r\n", length);
    for (const auto& [name, value] : piece.headers) text += str(name, ": ", value, "\r\n");
    if (!keeps_ || server_.stopping)
      text += "Connection: close\r\n";
    else if (old_)
      text += "Connection: keep-alive\r\n";
    return text + "\r\n";
  }

  [[nodiscard]] HttpPiece too_large() const {
    return server_.handler.problem(413,
                                   str("the body of a request has at most ", server_.limits.body_bytes,
                                       " bytes; send less at a time, or start the server with more --max_body_size"));
  }
  [[nodiscard]] HttpPiece malformed(const error_code& error) const {
    return server_.handler.problem(400, str("this is no HTTP request: ", error.message()));
  }

  // Answers a request that was not read to its end. What is still on its way is taken for a moment: a connection that is
  // closed before makes the client's system forget the answer.
  asio::awaitable<bool> refuse(HttpPiece piece) {
    keeps_ = false;
    head_only_ = false;
    (void)co_await send_whole(std::move(piece));
    error_code error;
    stream_.socket().shutdown(tcp::socket::shutdown_send, error);
    stream_.expires_after(kLinger);
    std::vector<char> dropped(kSlice);
    for (int64_t bytes = 0; !error && bytes < 4 * server_.limits.body_bytes;) {
      const size_t some = co_await stream_.async_read_some(asio::buffer(dropped), resumed(error));
      bytes += static_cast<int64_t>(some);
    }
    co_return false;
  }

  asio::awaitable<bool> write(std::string text) {
    error_code error;
    for (size_t done = 0; done < text.size() && !error;) {
      const size_t slice = std::min(kSlice, text.size() - done);
      stream_.expires_after(server_.limits.write);
      co_await asio::async_write(stream_, asio::buffer(text.data() + done, slice), resumed(error));
      done += slice;
    }
    stream_.expires_never();
    co_return !error;
  }

  HttpServer::State& server_;
  beast::tcp_stream stream_;
  beast::flat_buffer buffer_{kHeadBytes + kSlice};
  asio::steady_timer timer_;
  std::shared_ptr<HttpAnswer> answer_;
  std::shared_ptr<std::atomic<bool>> woken_;
  std::string path_;
  bool keeps_ = false, old_ = false, head_only_ = false, idle_ = false, gone_ = false;
};

asio::awaitable<void> HttpServer::State::accept() {
  for (;;) {
    error_code error;
    tcp::socket socket = co_await acceptor.async_accept(asio::make_strand(context), resumed(error));
    if (stopping) co_return;
    if (error) {  // no more files, most likely
      asio::steady_timer pause(context, std::chrono::milliseconds(100));
      co_await pause.async_wait(resumed(error));
      continue;
    }
    ++counts.accepted;
    if (counts.open >= limits.connections) {
      ++counts.refused;
      continue;
    }
    socket.set_option(tcp::no_delay(true), error);
    const auto executor = socket.get_executor();
    const auto connection = std::make_shared<Connection>(*this, std::move(socket));
    {
      const std::lock_guard lock(mutex);
      connections.insert(connection);
    }
    ++counts.open;
    asio::co_spawn(
        executor, [connection] { return connection->run(); },
        [this, connection](const std::exception_ptr&) { forget(*connection); });
  }
}

void HttpServer::State::forget(Connection& connection) {
  const std::lock_guard lock(mutex);
  connections.erase(connection.shared_from_this());
  --counts.open;
  left.notify_all();
}

HttpServer::HttpServer(const std::string& host, int64_t port, const HttpLimits& limits, HttpHandler& handler)
    : state_(std::make_unique<State>(limits, handler)) {
  if (port < 0 || port > 65535) throw_usage(str("port ", port, " must be from 0 (a free one) to 65535"));
  error_code error;
  tcp::resolver resolver(state_->context);
  const auto found = resolver.resolve(host, std::to_string(port), tcp::resolver::passive, error);
  if (error || found.empty())
    throw_usage(str("host '", printable(host), "': ", error.message(),
                    "; give an address of this machine: 127.0.0.1 for programs on it, 0.0.0.0 for everybody"));
  const tcp::endpoint wanted = found.begin()->endpoint();
  tcp::acceptor& acceptor = state_->acceptor;
  acceptor.open(wanted.protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(wanted, error);
  if (!error) acceptor.listen(1024, error);
  if (error)
    throw_resource(str("cannot listen on ", printable(host), " port ", port, ": ", lower(error.message()),
                       "; give another --port (0 = a free one) or --host"));
  state_->endpoint = acceptor.local_endpoint();
}

HttpServer::~HttpServer() {
  stop(std::chrono::milliseconds(0));
}

int64_t HttpServer::port() const {
  return state_->endpoint.port();
}

std::string HttpServer::address() const {
  const auto address = state_->endpoint.address();
  return address.is_v6() ? "[" + address.to_string() + "]" : address.to_string();
}

bool HttpServer::loopback() const {
  return state_->endpoint.address().is_loopback();
}

const HttpCounts& HttpServer::counts() const {
  return state_->counts;
}

void HttpServer::start() {
  State& state = *state_;
  asio::co_spawn(
      asio::make_strand(state.context), [&state] { return state.accept(); }, asio::detached);
  for (int i = 0; i < kThreads; ++i) state.threads.emplace_back([&state] { state.context.run(); });
}

void HttpServer::stop(std::chrono::milliseconds grace) {
  State& state = *state_;
  if (state.threads.empty()) return;
  state.stopping = true;
  asio::post(state.context, [&state] {
    error_code ignored;
    state.acceptor.close(ignored);
  });
  const auto hurry = [&](bool at_once) {
    for (const auto& connection : state.connections) connection->hurry(at_once);
  };
  {
    std::unique_lock lock(state.mutex);
    hurry(false);
    const auto done = [&] { return state.connections.empty(); };
    if (!state.left.wait_for(lock, grace, done)) {
      hurry(true);
      state.left.wait_for(lock, std::chrono::seconds(5), done);
    }
  }
  state.context.stop();
  for (std::thread& thread : state.threads) thread.join();
  state.threads.clear();
}

}  // namespace arkit::serve
