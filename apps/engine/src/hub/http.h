#pragma once
// One HTTP request at a time over libcurl: redirects are followed here, and the token goes to the hub's own scheme, host
// and port alone. Certificates are always verified.

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "hub/settings.h"

namespace arkit::hub {

struct Response {
  long status = 0;
  std::map<std::string, std::string, std::less<>> headers;  // names in lower case
  std::string body;  // where the request has no on_body, or the status is an error
  std::string url;   // that answered, after redirects

  [[nodiscard]] bool ok() const { return status == 200 || status == 206; }
  [[nodiscard]] std::string_view header(std::string_view name) const;  // empty = none
};

struct Request {
  std::string url;
  int64_t begin = 0;  // first byte wanted
  int64_t end = -1;   // past the last one; -1 = to the end of the file
  // Of an answer that is ok(): its headers before its bytes, then the bytes. May throw, which ends the request.
  std::function<void(const Response&)> on_start = {};
  std::function<void(std::string_view)> on_body = {};
};

// No answer, or one that broke off.
class NetworkFault : public std::runtime_error {
 public:
  enum class Kind {
    broken,       // something was there
    unreachable,  // nobody answers: no network, perhaps
    lasting,      // another try would end the same: an untrusted certificate, a URL that is none
  };
  NetworkFault(const std::string& what, Kind its_kind) : std::runtime_error(what), kind(its_kind) {}
  const Kind kind;
};

// Not thread-safe; keeps its connection between requests.
class Http {
 public:
  // Both outlive this. `stop` becomes true when the answer is no longer wanted.
  Http(const Settings& settings, const std::atomic<bool>& stop);
  ~Http();
  Http(const Http&) = delete;
  Http& operator=(const Http&) = delete;

  // The answer to a GET, whatever its status. Throws NetworkFault, ErrorCode::interrupted when the user asked to stop,
  // and what the callbacks throw.
  Response get(const Request& request);

 private:
  struct Call;
  Response hop(const Request& request, const std::string& url);

  const Settings& settings_;
  const std::atomic<bool>& stop_;
  void* curl_;
};

// Connections for threads that come and go.
class HttpPool {
 public:
  HttpPool(const Settings& settings, const std::atomic<bool>& stop) : settings_(settings), stop_(stop) {}

  template <typename Use>
  auto use(Use&& work) {
    Lease lease(*this);
    return work(*lease.http);
  }
  [[nodiscard]] const std::atomic<bool>& stop() const { return stop_; }

 private:
  struct Lease {
    explicit Lease(HttpPool& from) : pool(from), http(from.take()) {}
    ~Lease() { pool.give(std::move(http)); }
    HttpPool& pool;
    std::unique_ptr<Http> http;
  };
  std::unique_ptr<Http> take();
  void give(std::unique_ptr<Http> http);

  const Settings& settings_;
  const std::atomic<bool>& stop_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Http>> idle_;
};

// "https://host:port" of a URL, with the usual port where none is written; empty for what is no URL.
[[nodiscard]] ARKIT_INTERNAL std::string origin_of(const std::string& url);
// `text` as a part of a URL; a slash stays one where `keep_slashes`.
[[nodiscard]] ARKIT_INTERNAL std::string url_encoded(std::string_view text, bool keep_slashes);

}  // namespace arkit::hub
