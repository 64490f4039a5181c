#include "hub/retries.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <ctime>
#include <thread>

#include <curl/curl.h>

#include <arkit/error.h>
#include <arkit/log.h>
#include <arkit/str.h>

#include "hub/stop.h"

namespace arkit::hub {
namespace {

constexpr double kLongestBackOff = 30.0;  // seconds
constexpr auto kGlance = std::chrono::milliseconds(50);
constexpr int kUnreachableTries = 3;  // nobody waits half a minute for a network that is not there
constexpr long kTooMany = 429;

}  // namespace

double retry_after(const Response& response) {
  const std::string text(response.header("retry-after"));
  if (text.empty()) return -1;
  int64_t seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error == std::errc() && end == text.data() + text.size()) return seconds < 0 ? -1 : static_cast<double>(seconds);
  const time_t date = curl_getdate(text.c_str(), nullptr);
  return date < 0 ? -1 : std::max(0.0, std::difftime(date, std::time(nullptr)));
}

Retries::Retries(const Settings& settings, Voice& voice, std::string what, const std::atomic<bool>& stop)
    : settings_(settings), voice_(voice), what_(std::move(what)), stop_(stop), random_(std::random_device()()) {}

bool Retries::is_passing(const Response& response) {
  switch (response.status) {
    case 408:
    case kTooMany:
    case 500:
    case 502:
    case 503:
    case 504:
      return true;
    default:
      return false;
  }
}

// Half of it is chance, so that many that failed together do not come back together.
double Retries::back_off() {
  const double full = std::min(settings_.first_wait * std::pow(2.0, failed_ - 1), kLongestBackOff);
  return full * std::uniform_real_distribution<double>(0.5, 1.0)(random_);
}

void Retries::wait(double seconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (std::chrono::steady_clock::now() < end) {
    stop_if_interrupted();
    if (stop_) throw Error(ErrorCode::interrupted, "stopped");
    std::this_thread::sleep_for(kGlance);
  }
}

void Retries::after(const NetworkFault& fault) {
  ++failed_;
  if (fault.kind == NetworkFault::Kind::lasting) throw_resource(str(what_, ": ", fault.what()));
  const bool unreachable = fault.kind == NetworkFault::Kind::unreachable;
  if (failed_ >= (unreachable ? std::min(settings_.tries, kUnreachableTries) : settings_.tries))
    throw_resource(
        str(what_, ": ", fault.what(), " (", failed_,
            " tries); look at the network and at https_proxy and "
            "run the same command again (what came is kept), or set HF_HUB_OFFLINE=1 to use what the cache has"));
  wait(back_off());
}

void Retries::after(const Response& response) {
  ++failed_;
  const std::string said = str("'", origin_of(response.url), "' answers ", response.status);
  const double asked = retry_after(response);
  if (asked > settings_.longest_wait || told_ + asked > settings_.longest_wait)
    throw_resource(str(what_, ": ", said, " and asks to wait ", asked,
                       " s; run the same command again then: what came "
                       "is kept"));
  if (failed_ >= settings_.tries)
    throw_resource(str(what_, ": ", said, response.status == kTooMany ? " (too many requests)" : "", " to ", failed_,
                       " tries; run the same command again later: what came is kept"));
  if (asked < 0) {
    const double seconds = back_off();
    voice_.info(str(what_, ": ", said, "; trying again in ", std::ceil(seconds), " s"));
    wait(seconds);
    return;
  }
  told_ += asked;
  voice_.info(str(what_, ": ", said, " and asks to wait ", asked, " s; waiting"));
  wait(asked);
}

}  // namespace arkit::hub
