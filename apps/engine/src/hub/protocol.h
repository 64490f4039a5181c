#pragma once
// What one hub's HTTP looks like: addresses, and what its answers mean.

#include <memory>
#include <string>

#include "hub/cache.h"
#include "hub/http.h"
#include "hub/listing.h"
#include "hub/settings.h"
#include "hub/voice.h"

namespace arkit::hub {

// Thread-safe. Errors as Hub says.
class Protocol {
 public:
  Protocol(const Settings& settings, HttpPool& pool, Voice& voice) : settings_(settings), pool_(pool), voice_(voice) {}
  virtual ~Protocol() = default;

  [[nodiscard]] virtual std::string commit(const Repo& repo) = 0;
  [[nodiscard]] virtual Listing list(const Snapshot& snapshot) = 0;
  [[nodiscard]] virtual std::string file_url(const Snapshot& snapshot, const std::string& path) const = 0;

  // The one sentence for an answer that is no success. `file` is empty where the repository itself was asked for.
  [[noreturn]] void refuse(const Response& response, const Repo& repo, const std::string& file) const;

 protected:
  // The answer to a GET of the API, after retries.
  [[nodiscard]] Response ask(const std::string& url, const Repo& repo);
  // Where a person can look at the repository.
  [[nodiscard]] virtual std::string page(const Repo& repo) const = 0;

  const Settings& settings_;

 private:
  HttpPool& pool_;
  Voice& voice_;
};

[[nodiscard]] std::unique_ptr<Protocol> open_protocol(const Settings& settings, HttpPool& pool, Voice& voice);

}  // namespace arkit::hub
