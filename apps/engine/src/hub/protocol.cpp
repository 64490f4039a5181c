#include "hub/protocol.h"

#include <algorithm>

#include <arkit/error.h>
#include <arkit/json.h>
#include <arkit/str.h>

#include "hub/repo_names.h"
#include "hub/retries.h"

namespace arkit::hub {
namespace {

constexpr size_t kMostFiles = 1'000'000;
constexpr int kMostPages = 1000;  // of a listing; a hub has 1000 entries on one
constexpr int64_t kPage = 200;    // files a page of ModelScope's data sets

std::string text_of(const json::Object& object, std::string_view key, std::string_view what) {
  return json::get_string(object, key, what).value_or("");
}

void require_room_in(const Listing& listing, std::string_view what) {
  if (listing.size() > kMostFiles)
    throw_input(str(what, ": the hub lists more than ", kMostFiles, " files; that is no repository to download from"));
}

// The address in a header such as: <https://hub/page2>; rel="next"
std::string next_page(const Response& response) {
  for (const std::string& link : split(response.header("link"), ',')) {
    const size_t open = link.find('<'), close = link.find('>');
    if (open == std::string::npos || close == std::string::npos || close < open) continue;
    if (link.find("rel=\"next\"", close) != std::string::npos) return link.substr(open + 1, close - open - 1);
  }
  return {};
}

class HuggingFace final : public Protocol {
 public:
  using Protocol::Protocol;

  std::string commit(const Repo& repo) override {
    const std::string what = describe(repo);
    const Response answer = ask(str(api(repo), "/revision/", url_encoded(repo.revision, false)), repo);
    const json::Value content = json::parse(answer.body, str(what, ": the hub's answer"));
    std::string sha = text_of(json::as_object(content, what), "sha", what);
    if (!is_commit(sha))
      throw_input(str(what, ": '", settings_.endpoint, "' gives no commit for revision '", repo.revision,
                      "'; is it a Hugging Face hub?"));
    return sha;
  }

  Listing list(const Snapshot& snapshot) override {
    const std::string what = describe(snapshot.repo);
    Listing listing;
    std::string url = str(api(snapshot.repo), "/tree/", snapshot.commit, "?recursive=true&expand=false");
    for (int pages = 0; !url.empty(); ++pages) {
      if (pages == kMostPages) throw_input(str(what, ": the hub's list of files does not end after ", pages, " pages"));
      const Response answer = ask(url, snapshot.repo);
      const size_t entries = add_page(answer.body, what, listing);
      require_room_in(listing, what);
      url = entries == 0 ? std::string() : next_page(answer);
      // A mirror hands on what the hub says, the hub's own address included; the next page is asked of the mirror, too.
      const size_t path = url.find(api_path(snapshot.repo) + "/tree/");
      if (!url.empty() && path == std::string::npos)
        throw_input(
            str(what, ": the hub's list of files goes on at '", printable(url), "', which is none of its pages"));
      if (!url.empty()) url = settings_.endpoint + url.substr(path);
    }
    return checked(std::move(listing), what);
  }

  std::string file_url(const Snapshot& snapshot, const std::string& path) const override {
    const char* kind = snapshot.repo.kind == RepoKind::dataset ? "/datasets/" : "/";
    return str(settings_.endpoint, kind, snapshot.repo.id, "/resolve/", snapshot.commit, "/", url_encoded(path, true));
  }

 protected:
  std::string page(const Repo& repo) const override {
    return str(settings_.endpoint, repo.kind == RepoKind::dataset ? "/datasets/" : "/", repo.id);
  }

 private:
  std::string api(const Repo& repo) const { return settings_.endpoint + api_path(repo); }
  static std::string api_path(const Repo& repo) {
    return str("/api/", repo.kind == RepoKind::dataset ? "datasets/" : "models/", repo.id);
  }
};

class ModelScope final : public Protocol {
 public:
  using Protocol::Protocol;

  // There is no question for it: the newest commit of all files is that of the repository.
  std::string commit(const Repo& repo) override {
    std::string newest = modelscope_revision(repo);
    int64_t date = -1;
    pages(repo, [&](const json::Object& entry) {
      const std::string sha = text_of(entry, "Revision", "file");
      const int64_t when = json::get_int(entry, "CommittedDate", "file").value_or(0);
      if (!is_commit(sha) || when < date || (when == date && sha < newest)) return;
      newest = sha;
      date = when;
    });
    return newest;
  }

  Listing list(const Snapshot& snapshot) override {
    const std::string what = describe(snapshot.repo);
    Listing listing;
    pages(snapshot.repo, [&](const json::Object& entry) {
      if (text_of(entry, "Type", what) == "tree") return;
      RemoteFile file;
      file.path = text_of(entry, "Path", what);
      file.size = json::get_int(entry, "Size", what).value_or(-1);
      file.sha256 = text_of(entry, "Sha256", what);
      listing.push_back(std::move(file));
      require_room_in(listing, what);
    });
    return checked(std::move(listing), what);
  }

  std::string file_url(const Snapshot& snapshot, const std::string& path) const override {
    return str(api(snapshot.repo), "/repo?Revision=", url_encoded(modelscope_revision(snapshot.repo), false),
               "&FilePath=", url_encoded(path, false));
  }

 protected:
  std::string page(const Repo& repo) const override {
    return str(settings_.endpoint, repo.kind == RepoKind::dataset ? "/datasets/" : "/models/", repo.id);
  }

 private:
  std::string api(const Repo& repo) const {
    return str(settings_.endpoint, "/api/v1/", repo.kind == RepoKind::dataset ? "datasets/" : "models/", repo.id);
  }

  template <typename Take>
  void pages(const Repo& repo, const Take& take) {
    const bool paged = repo.kind == RepoKind::dataset;
    const std::string what = describe(repo);
    const std::string url = str(api(repo), paged ? "/repo/tree" : "/repo/files",
                                "?Revision=", url_encoded(modelscope_revision(repo), false), "&Recursive=True");
    for (int64_t number = 1;; ++number) {
      const Response answer = ask(paged ? str(url, "&PageNumber=", number, "&PageSize=", kPage) : url, repo);
      const json::Value content = json::parse(answer.body, str(what, ": the hub's list of files"));
      const json::Value* data = json::find(json::as_object(content, what), "Data");
      const json::Value* files =
          data == nullptr || data->is_array() ? data : json::find(json::as_object(*data, what), "Files");
      if (files == nullptr) throw_input(str(what, ": '", settings_.endpoint, "' lists no files; is it ModelScope?"));
      const json::Array& entries = json::as_array(*files, what);
      for (const json::Value& entry : entries) take(json::as_object(entry, what));
      if (!paged || static_cast<int64_t>(entries.size()) < kPage) return;
      if (static_cast<size_t>(number * kPage) > kMostFiles)
        throw_input(str(what, ": the hub lists more than ", kMostFiles, " files"));
    }
  }
};

}  // namespace

Response Protocol::ask(const std::string& url, const Repo& repo) {
  Retries retries(settings_, voice_, describe(repo), pool_.stop());
  while (true) {
    try {
      Response response = pool_.use([&](Http& http) { return http.get({.url = url}); });
      if (response.ok()) return response;
      if (!Retries::is_passing(response)) refuse(response, repo, {});
      retries.after(response);
    } catch (const NetworkFault& fault) {
      retries.after(fault);
    }
  }
}

void Protocol::refuse(const Response& response, const Repo& repo, const std::string& file) const {
  const std::string_view code = response.header("x-error-code");
  const std::string what = str(describe(repo), file.empty() ? "" : str(": '", file, "'"));
  const bool modelscope = settings_.service == Service::modelscope;
  const std::string_view variable = modelscope ? "MODELSCOPE_API_TOKEN" : "HF_TOKEN, or 'hf auth login'";
  const bool known = !settings_.token.empty();
  if (code == "GatedRepo")
    throw_input(known ? str(what, ": is gated, and the account of your token has no access; ask for it at ", page(repo))
                      : str(what, ": is gated; accept its conditions at ", page(repo),
                            " and give a token of your account (", variable, ")"));
  if (response.status == 404 && code == "RevisionNotFound")
    throw_input(str(what, ": has no revision '", repo.revision, "'; look at ", page(repo)));
  if (response.status == 404 && code == "EntryNotFound")
    throw_input(str(what, ": is not there at revision '", repo.revision, "'"));
  const auto unknown = [&](const std::string& message) {
    if (file.empty()) throw UnknownRepo(ErrorCode::input, message);
    throw_input(message);
  };
  if (response.status == 401)
    unknown(known ? str(what, ": the hub does not accept your token for it, or there is no such repository; look at ",
                        page(repo), " and at the token (", variable, ")")
                  : str(what, ": there is no such repository at ", settings_.endpoint,
                        ", or it is private; look at the name, or give a token that may read it (", variable, ")"));
  if (response.status == 403)
    throw_input(str(what, ": the hub refuses access (403)", known ? " to the account of your token" : "", "; look at ",
                    page(repo), known ? "" : str(", or give a token that may read it (", variable, ")")));
  if (response.status == 404 || code == "RepoNotFound")
    unknown(str(what, ": is not at ", settings_.endpoint, " (revision '", repo.revision, "'); look at the name"));
  throw_resource(str(what, ": '", origin_of(response.url), "' answers ", response.status, ", which is not understood"));
}

std::unique_ptr<Protocol> open_protocol(const Settings& settings, HttpPool& pool, Voice& voice) {
  if (settings.service == Service::modelscope) return std::make_unique<ModelScope>(settings, pool, voice);
  return std::make_unique<HuggingFace>(settings, pool, voice);
}

}  // namespace arkit::hub
