#include "hub/http.h"

#include <array>
#include <cctype>
#include <cstdlib>
#include <exception>
#include <system_error>

#include <curl/curl.h>

#include <arkit/error.h>
#include <arkit/log.h>
#include <arkit/str.h>

#include "hub/stop.h"

namespace arkit::hub {
namespace fs = std::filesystem;
namespace {

constexpr int kMostHops = 10;
constexpr size_t kMostBody = size_t{64} << 20;  // of an answer that is read as a whole: a page of a listing
constexpr size_t kMostErrorBody = size_t{64} << 10;
constexpr size_t kMostHeaders = 256;
constexpr auto kLasting = NetworkFault::Kind::lasting;
constexpr long kSlow = 100;  // bytes a second; slower than that is a stall

struct UrlCloser {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
using Url = std::unique_ptr<CURLU, UrlCloser>;

struct ListCloser {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using HeaderList = std::unique_ptr<curl_slist, ListCloser>;

void add_header(HeaderList& list, const std::string& line) {
  curl_slist* longer = curl_slist_append(list.get(), line.c_str());
  if (longer == nullptr) throw std::bad_alloc();
  (void)list.release();
  list.reset(longer);
}

std::string part(CURLU* url, CURLUPart which, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, which, &text, flags) != CURLUE_OK) return {};
  const std::string copy = text;
  curl_free(text);
  return copy;
}

// Null for what is no URL of the web.
Url parsed(const std::string& text) {
  Url url(curl_url());
  if (url == nullptr || curl_url_set(url.get(), CURLUPART_URL, text.c_str(), CURLU_DISALLOW_USER) != CURLUE_OK)
    return nullptr;
  const std::string scheme = part(url.get(), CURLUPART_SCHEME);
  return scheme == "https" || scheme == "http" ? std::move(url) : nullptr;
}

std::string origin(CURLU* url) {
  return lower(str(part(url, CURLUPART_SCHEME), "://", part(url, CURLUPART_HOST), ":",
                   part(url, CURLUPART_PORT, CURLU_DEFAULT_PORT)));
}

// Where a redirect leads. A connection that was encrypted stays so.
std::string redirected(const std::string& from, std::string_view location) {
  const Url url = parsed(from);
  const bool was_secure = from.starts_with("https:");
  if (location.empty() || curl_url_set(url.get(), CURLUPART_URL, std::string(location).c_str(), CURLU_DISALLOW_USER))
    throw NetworkFault(str("'", origin_of(from), "' redirects to what is no address"), kLasting);
  const std::string scheme = part(url.get(), CURLUPART_SCHEME);
  if (scheme != "https" && (scheme != "http" || was_secure))
    throw NetworkFault(str("'", origin_of(from), "' redirects from ", was_secure ? "https" : "http", " to ",
                           printable(scheme, 20), ", which is not followed"),
                       kLasting);
  return part(url.get(), CURLUPART_URL);
}

bool is_redirect(long status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

NetworkFault::Kind kind_of(CURLcode code) {
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
      return NetworkFault::Kind::unreachable;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_COULDNT_RESOLVE_PROXY:
      return NetworkFault::Kind::lasting;
    default:
      return NetworkFault::Kind::broken;
  }
}

std::string advice(CURLcode code) {
  if (code == CURLE_PEER_FAILED_VERIFICATION)
    return "; where a proxy or a hub of your own has its own authority, name its certificates in SSL_CERT_FILE";
  return {};
}

std::string trimmed(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front()))) text.remove_prefix(1);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.remove_suffix(1);
  return std::string(text);
}

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

// What is said of proxies, without the names and passwords in their addresses.
std::string without_passwords(std::string text) {
  for (const char* name : {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"}) {
    const std::string address = variable(name);
    const size_t end = address.rfind('@'), scheme = address.find("://");
    if (end == std::string::npos) continue;
    const size_t begin = scheme == std::string::npos || scheme > end ? 0 : scheme + 3;
    const std::string secret = address.substr(begin, end - begin);
    for (size_t at = secret.empty() ? std::string::npos : text.find(secret); at != std::string::npos;
         at = text.find(secret, at))
      text.replace(at, secret.size(), "...");
  }
  return text;
}

void initialize() {
  static const bool once = [] {
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) throw_resource("libcurl cannot be initialised");
    return true;
  }();
  (void)once;
}

}  // namespace

std::string_view Response::header(std::string_view name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? std::string_view() : std::string_view(found->second);
}

std::string origin_of(const std::string& url) {
  const Url one = parsed(url);
  return one == nullptr ? std::string() : origin(one.get());
}

std::string url_encoded(std::string_view text, bool keep_slashes) {
  static constexpr std::string_view kDigits = "0123456789ABCDEF", kPlain = "-_.~";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (byte < 0x80 && std::isalnum(byte) != 0) || kPlain.find(c) != std::string_view::npos;
    if (plain || (c == '/' && keep_slashes))
      out += c;
    else
      out += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
  }
  return out;
}

// What libcurl's callbacks, which are C, see of a request. Nothing may be thrown through them.
struct Http::Call {
  const Request& request;
  const std::atomic<bool>& stop;
  Response response = {};
  bool started = false;
  bool enough = false;  // of an error's page; it need not end
  std::exception_ptr thrown = nullptr;

  template <typename Work>
  size_t guarded(size_t size, Work&& work) {
    try {
      return work() ? size : 0;
    } catch (...) {
      thrown = std::current_exception();
      return 0;
    }
  }

  static size_t on_header(char* data, size_t, size_t size, void* self) {
    auto& call = *static_cast<Call*>(self);
    return call.guarded(size, [&] { return call.header({data, size}); });
  }
  static size_t on_data(char* data, size_t, size_t size, void* self) {
    auto& call = *static_cast<Call*>(self);
    return call.guarded(size, [&] { return call.data({data, size}); });
  }
  static int on_progress(void* self, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    return static_cast<Call*>(self)->stop || interrupted() ? 1 : 0;
  }

  // A new status line begins after "100 Continue" and after a proxy's answer.
  bool header(std::string_view line) {
    if (line.starts_with("HTTP/")) {
      response.headers.clear();
      const size_t blank = line.find(' ');
      response.status = blank == std::string_view::npos ? 0 : std::atol(std::string(line.substr(blank)).c_str());
      return true;
    }
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) return true;
    if (response.headers.size() >= kMostHeaders) return false;
    response.headers[lower(trimmed(line.substr(0, colon)))] = trimmed(line.substr(colon + 1));
    return true;
  }

  void start() {
    if (started || !response.ok()) return;
    started = true;
    if (request.on_start) request.on_start(response);
  }

  bool data(std::string_view bytes) {
    if (response.ok() && request.on_body) {
      start();
      request.on_body(bytes);
      return true;
    }
    const bool fits = response.body.size() + bytes.size() <= (response.ok() ? kMostBody : kMostErrorBody);
    if (!fits && response.ok())
      throw_input(str("'", origin_of(request.url), "': answers a question with more than ", kMostBody >> 20,
                      " MiB; that is no list of files"));
    if (fits) response.body += bytes;
    enough = !fits;
    return fits;
  }
};

Http::Http(const Settings& settings, const std::atomic<bool>& stop) : settings_(settings), stop_(stop) {
  initialize();
  curl_ = curl_easy_init();
  if (curl_ == nullptr) throw_resource("libcurl gives no handle");
}

Http::~Http() {
  curl_easy_cleanup(curl_);
}

Response Http::hop(const Request& request, const std::string& url) {
  CURL* curl = curl_;
  curl_easy_reset(curl);  // connections stay
  Call call{request, stop_};
  std::array<char, CURL_ERROR_SIZE> reason{};
  HeaderList headers;
  const bool with_token = !settings_.token.empty() && origin_of(url) == origin_of(settings_.endpoint);
  if (with_token) {
    add_header(headers, "Authorization: Bearer " + settings_.token);
    if (settings_.service == Service::modelscope) add_header(headers, "Cookie: m_session_id=" + settings_.token);
  }
  const std::string range =
      request.begin > 0 || request.end >= 0
          ? str(request.begin, "-", request.end >= 0 ? std::to_string(request.end - 1) : std::string())
          : std::string();

  const auto set = [curl](CURLoption option, auto value) {
    ARKIT_CHECK(curl_easy_setopt(curl, option, value) == CURLE_OK, "libcurl lacks an option");
  };
  set(CURLOPT_URL, url.c_str());
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_FOLLOWLOCATION, 0L);
  set(CURLOPT_SSL_VERIFYPEER, 1L);
  set(CURLOPT_SSL_VERIFYHOST, 2L);
  // A proxy does not see the token: of HTTPS it gets an address alone, of HTTP it would get all there is.
  set(CURLOPT_HEADEROPT, static_cast<long>(CURLHEADER_SEPARATE));
  if (with_token && !url.starts_with("https:")) set(CURLOPT_PROXY, "");
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_USERAGENT, "arkit/" ARKIT_VERSION);
  set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(settings_.connect_timeout.count()));
  set(CURLOPT_LOW_SPEED_LIMIT, kSlow);
  set(CURLOPT_LOW_SPEED_TIME, static_cast<long>(settings_.stall_timeout.count()));
  set(CURLOPT_ERRORBUFFER, reason.data());
  set(CURLOPT_HTTPHEADER, headers.get());
  if (!range.empty()) set(CURLOPT_RANGE, range.c_str());
  if (std::error_code error; !settings_.authorities.empty())
    set(fs::is_directory(settings_.authorities, error) ? CURLOPT_CAPATH : CURLOPT_CAINFO,
        settings_.authorities.c_str());
  set(CURLOPT_HEADERFUNCTION, &Call::on_header);
  set(CURLOPT_HEADERDATA, static_cast<void*>(&call));
  set(CURLOPT_WRITEFUNCTION, &Call::on_data);
  set(CURLOPT_WRITEDATA, static_cast<void*>(&call));
  set(CURLOPT_XFERINFOFUNCTION, &Call::on_progress);
  set(CURLOPT_XFERINFODATA, static_cast<void*>(&call));
  set(CURLOPT_NOPROGRESS, 0L);

  const CURLcode code = curl_easy_perform(curl);
  if (call.thrown != nullptr) std::rethrow_exception(call.thrown);
  stop_if_interrupted();
  if (stop_) throw Error(ErrorCode::interrupted, "stopped");  // what ended the others is the error
  if (code != CURLE_OK && !call.enough) {
    const std::string why = reason[0] != '\0' ? std::string(reason.data()) : std::string(curl_easy_strerror(code));
    throw NetworkFault(str("'", origin_of(url), "': ", printable(without_passwords(why)), advice(code)), kind_of(code));
  }
  call.start();  // an answer without a body
  call.response.url = url;
  return std::move(call.response);
}

Response Http::get(const Request& request) {
  std::string url = request.url;
  if (parsed(url) == nullptr) throw NetworkFault(str("'", printable(url), "' is no address"), kLasting);
  for (int hops = 0; hops <= kMostHops; ++hops) {
    Response response = hop(request, url);
    if (!is_redirect(response.status)) return response;
    url = redirected(url, response.header("location"));
  }
  throw NetworkFault(str("'", origin_of(request.url), "' redirects more than ", kMostHops, " times"), kLasting);
}

std::unique_ptr<Http> HttpPool::take() {
  const std::lock_guard lock(mutex_);
  if (idle_.empty()) return std::make_unique<Http>(settings_, stop_);
  std::unique_ptr<Http> http = std::move(idle_.back());
  idle_.pop_back();
  return http;
}

void HttpPool::give(std::unique_ptr<Http> http) {
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(http));
}

}  // namespace arkit::hub
