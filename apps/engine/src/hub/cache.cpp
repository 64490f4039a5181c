#include "hub/cache.h"

#include <algorithm>
#include <fstream>
#include <system_error>

#include <arkit/error.h>
#include <arkit/str.h>

#include "hub/disk.h"
#include "hub/repo_names.h"
#include "util/sha256.h"

namespace arkit::hub {
namespace fs = std::filesystem;
namespace {

constexpr int kDeepest = 32;  // folders of a snapshot

std::string with_dashes(std::string_view id) {
  std::string name(id);
  if (const size_t slash = name.find('/'); slash != std::string::npos) name.replace(slash, 1, "--");
  return name;
}

std::string first_word(const fs::path& file) {
  std::error_code error;
  if (!fs::is_regular_file(file, error)) return {};
  std::ifstream in(file);
  std::string word;
  word.resize(64);
  in.read(word.data(), static_cast<std::streamsize>(word.size()));
  word.resize(static_cast<size_t>(in.gcount()));
  return word.substr(0, word.find_first_of(" \t\r\n"));
}

// blobs/ with every content once, under its hash; snapshots/<commit>/ with links into it; refs/ with what branches and
// tags are; .no_exist/; trees/ with listings; .locks/ beside all repositories.
class HuggingFaceCache final : public Cache {
 public:
  using Cache::Cache;

  std::optional<std::string> commit_of(const Repo& repo) const override {
    if (is_commit(repo.revision)) return repo.revision;
    std::string commit = first_word(repo_folder(repo) / "refs" / repo.revision);
    return is_commit(commit) ? std::optional(std::move(commit)) : std::nullopt;
  }
  void keep_commit(const Snapshot& snapshot) override {
    const Repo& repo = snapshot.repo;
    if (repo.revision != snapshot.commit && commit_of(repo) != snapshot.commit)
      write_small(repo_folder(repo) / "refs" / repo.revision, snapshot.commit);
  }
  fs::path folder(const Snapshot& snapshot) const override {
    return repo_folder(snapshot.repo) / "snapshots" / snapshot.commit;
  }
  Place place(const Snapshot& snapshot, const RemoteFile& file) const override {
    const fs::path repo = repo_folder(snapshot.repo);
    const std::string& etag = file.etag();
    return {settings_.cache / ".locks" / repo.filename() / (etag + ".lock"), repo / "blobs" / (etag + ".incomplete"),
            repo / "blobs" / etag};
  }
  fs::path publish(const Snapshot& snapshot, const RemoteFile& file, const Place& place, bool downloaded) override {
    const fs::path pointer = folder(snapshot) / file.path;
    make_folder(pointer.parent_path());
    std::error_code error;
    const bool is_new = downloaded && !fs::exists(place.blob, error);
    if (downloaded) rename_over(place.incomplete, place.blob);
    const fs::path beside = temporary_beside(pointer);
    if (settings_.symlinks) fs::create_symlink(place.blob.lexically_relative(pointer.parent_path()), beside, error);
    if (settings_.symlinks && !error) {
      rename_over(beside, pointer);
      return pointer;
    }
    // A disk without links: the snapshot has the file itself. A blob that was there may belong to other snapshots.
    if (is_new) {
      rename_over(place.blob, pointer);
      return pointer;
    }
    fs::copy_file(place.blob, beside, error);
    if (error) throw_disk(beside, "copying", error.value());
    rename_over(beside, pointer);
    return pointer;
  }
  void keep_absence(const Snapshot& snapshot, const std::string& path) override {
    const fs::path mark = repo_folder(snapshot.repo) / ".no_exist" / snapshot.commit / path;
    std::error_code error;
    fs::create_directories(mark.parent_path(), error);
    std::ofstream touch(mark, std::ios::app);
  }

 protected:
  fs::path repo_folder(const Repo& repo) const override {
    return settings_.cache / str(repo.kind == RepoKind::dataset ? "datasets--" : "models--", with_dashes(repo.id));
  }
};

// <kind>s/<owner>--<name>/snapshots/<revision>/ with the files themselves; .lock/ beside all repositories.
class ModelScopeCache final : public Cache {
 public:
  using Cache::Cache;

  std::optional<std::string> commit_of(const Repo& repo) const override {
    std::string commit = first_word(repo_folder(repo) / "refs" / modelscope_revision(repo));
    if (is_commit(commit)) return commit;
    std::error_code error;
    const fs::path there = folder({repo, {}});
    return fs::is_directory(there, error) ? std::optional(modelscope_revision(repo)) : std::nullopt;
  }
  void keep_commit(const Snapshot& snapshot) override {
    if (commit_of(snapshot.repo) != snapshot.commit && is_commit(snapshot.commit))
      write_small(repo_folder(snapshot.repo) / "refs" / modelscope_revision(snapshot.repo), snapshot.commit);
  }
  // Clients before the one of 2026 had other names; what they left is not downloaded again.
  fs::path folder(const Snapshot& snapshot) const override {
    const Repo& repo = snapshot.repo;
    fs::path usual = repo_folder(repo) / "snapshots" / modelscope_revision(repo);
    std::error_code error;
    const size_t slash = repo.id.find('/');
    if (repo.revision != "main" || slash == std::string::npos || fs::is_directory(usual, error)) return usual;
    std::string name;
    for (const char c : repo.id.substr(slash + 1)) name += c == '.' ? std::string("___") : std::string(1, c);
    for (const char* root : {"", "hub"}) {
      fs::path old = settings_.cache / root / kind(repo) / repo.id.substr(0, slash) / name;
      if (fs::is_directory(old, error)) return old;
    }
    return usual;
  }
  // ModelScope's client locks by this hash, too.
  Place place(const Snapshot& snapshot, const RemoteFile& file) const override {
    const Repo& repo = snapshot.repo;
    std::string key = "modelscope-hub-download-lock-v2";
    const std::string type(kind(repo).substr(0, kind(repo).size() - 1));
    for (const std::string& part : {std::string("file"), type, repo.id, file.path}) key += '\0' + part;
    const std::string name = sha256_hex(key);
    const std::string content = file.etag().empty() ? name : file.etag();
    return {settings_.cache / ".lock" / ("file_" + name + ".lock"), repo_folder(repo) / ".incomplete" / content, {}};
  }
  fs::path publish(const Snapshot& snapshot, const RemoteFile& file, const Place& place, bool /*downloaded*/) override {
    fs::path final_path = folder(snapshot) / file.path;
    make_folder(final_path.parent_path());
    rename_over(place.incomplete, final_path);
    return final_path;
  }
  void keep_absence(const Snapshot&, const std::string&) override {}
  bool mixes_commits() const override { return true; }

 protected:
  fs::path repo_folder(const Repo& repo) const override { return settings_.cache / kind(repo) / with_dashes(repo.id); }

 private:
  static std::string_view kind(const Repo& repo) { return repo.kind == RepoKind::dataset ? "datasets" : "models"; }
};

}  // namespace

std::optional<Listing> Cache::listing(const Snapshot& snapshot) const {
  return read_listing(repo_folder(snapshot.repo) / "trees" / (snapshot.commit + ".json"));
}

void Cache::keep_listing(const Snapshot& snapshot, const Listing& listing) {
  write_listing(repo_folder(snapshot.repo) / "trees" / (snapshot.commit + ".json"), listing);
}

std::optional<fs::path> Cache::find(const Snapshot& snapshot, const std::string& path) const {
  fs::path file = folder(snapshot) / path;
  std::error_code error;
  if (!fs::is_regular_file(file, error)) return std::nullopt;
  require_own(snapshot.repo, file);
  return file;
}

// The folder of a repository, and that of its blobs, may be links of the user's own: to a larger disk.
void Cache::require_own(const Repo& repo, const fs::path& link) const {
  std::error_code error;
  const fs::path target = fs::canonical(link, error);
  if (error) return;  // leads nowhere
  for (const fs::path& own : {settings_.cache, repo_folder(repo), repo_folder(repo) / "blobs"}) {
    const fs::path root = fs::canonical(own, error);
    if (!error && std::mismatch(root.begin(), root.end(), target.begin(), target.end()).first == root.end()) return;
  }
  throw_input(str("'", printable(link.string()), "': is a link that leads out of the cache, to '",
                  printable(target.string()), "'; who made it? Remove it and run the same command again"));
}

void Cache::require_own_links(const Snapshot& snapshot) const {
  std::error_code error;
  for (fs::recursive_directory_iterator it(folder(snapshot), error), end; !error && it != end; it.increment(error)) {
    if (it.depth() > kDeepest) it.disable_recursion_pending();
    if (it->is_symlink()) require_own(snapshot.repo, it->path());
  }
}

Listing Cache::present(const Snapshot& snapshot) const {
  const fs::path root = folder(snapshot);
  Listing listing;
  std::error_code error;
  for (fs::recursive_directory_iterator it(root, error), end; !error && it != end; it.increment(error)) {
    if (it.depth() > kDeepest) it.disable_recursion_pending();
    std::error_code failed;
    if (!it->is_regular_file(failed)) continue;
    RemoteFile file;
    file.path = it->path().lexically_relative(root).generic_string();
    file.size = static_cast<int64_t>(it->file_size(failed));
    if (!failed && is_repo_path(file.path)) listing.push_back(std::move(file));
  }
  return checked(std::move(listing), "cache");
}

std::unique_ptr<Cache> open_cache(const Settings& settings) {
  if (settings.service == Service::modelscope) return std::make_unique<ModelScopeCache>(settings);
  return std::make_unique<HuggingFaceCache>(settings);
}

}  // namespace arkit::hub
