#include <algorithm>
#include <atomic>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <thread>

#include <arkit/error.h>
#include <arkit/log.h>
#include <arkit/str.h>

#include "hub/disk.h"
#include "hub/local_file.h"
#include "hub/remote_access.h"
#include "hub/repo_names.h"
#include "hub/transfer.h"

namespace arkit::hub {
namespace fs = std::filesystem;
namespace {

void require_names(const Repo& repo) {
  if (!is_repo_id(repo.id))
    throw_input(str("'", printable(repo.id), "' is no id of a hub; expected one such as 'org/name'"));
  if (!is_revision(repo.revision))
    throw_input(str(describe(repo), ": '", printable(repo.revision), "' is no branch, tag or commit"));
}

class RemoteHub final : public Hub {
 public:
  RemoteHub(const Settings& settings, Reporter& reporter)
      : settings_(settings),
        voice_(reporter),
        pool_(settings_, stop_),
        protocol_(open_protocol(settings_, pool_, voice_)),
        cache_(open_cache(settings_)) {}

  Snapshot snapshot(const Repo& repo) override {
    require_names(repo);
    if (is_commit(repo.revision)) return {repo, repo.revision};
    if (settings_.offline) {
      if (auto commit = cache_->commit_of(repo)) return {repo, *std::move(commit)};
      throw_input(str(describe(repo), ": revision '", repo.revision, "' is not in the cache '",
                      settings_.cache.string(),
                      "', and HF_HUB_OFFLINE forbids asking the hub; unset it, or name a revision that is there"));
    }
    try {
      Snapshot found{repo, protocol_->commit(repo)};
      keep([&] { cache_->keep_commit(found); });
      return found;
    } catch (const Error& error) {
      // Not for what the hub says of the repository: only where it says nothing.
      auto commit = error.code() == ErrorCode::resource ? cache_->commit_of(repo) : std::nullopt;
      if (!commit) throw;
      voice_.warn(str(error.what(), "; what the cache has of it is used"));
      return {repo, *std::move(commit)};
    }
  }

  std::vector<Entry> files(const Snapshot& snapshot) override { return entries_of(*listing(snapshot)); }

  bool ask_again(const Snapshot& snapshot) override {
    const std::lock_guard lock(listing_mutex_);
    std::shared_ptr<const Listing>& known = listings_[key_of(snapshot)];
    if (settings_.offline || !asked_.insert(key_of(snapshot)).second) return false;
    try {
      auto fresh = std::make_shared<const Listing>(protocol_->list(snapshot));
      if (known != nullptr && *fresh == *known) return false;
      known = std::move(fresh);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::interrupted) throw;
      return false;
    }
    voice_.warn(str(describe(snapshot.repo), ": the list of its files in the cache was not that of '",
                    settings_.endpoint, "'; it is replaced"));
    keep([&] { cache_->keep_listing(snapshot, *known); });
    return true;
  }

  fs::path fetch(const Snapshot& snapshot, const std::string& path) override {
    return fetch_all(snapshot, {path}).front();
  }

  std::vector<fs::path> fetch_all(const Snapshot& snapshot, const std::vector<std::string>& paths) override {
    std::vector<fs::path> places(paths.size());
    std::vector<Wanted> wanted;
    int64_t bytes = 0;
    for (size_t i = 0; i < paths.size(); ++i) {
      if (auto there = whole_in_cache(snapshot, paths[i])) {
        places[i] = *std::move(there);
        continue;
      }
      wanted.push_back({needed(snapshot, paths[i]), &places[i]});
      bytes += wanted.back().file.size;
    }
    if (wanted.empty()) return places;
    make_folder(settings_.cache);
    require_room(settings_.cache, missing_bytes(snapshot, wanted), describe(snapshot.repo));
    voice_.begin(static_cast<int64_t>(wanted.size()), bytes);
    const std::exception_ptr failed = transfer_all(snapshot, wanted);
    voice_.end();
    if (failed == nullptr) return places;
    if (doubts_list(failed) && ask_again(snapshot)) return fetch_all(snapshot, paths);
    std::rethrow_exception(failed);
  }

  void fetch_into(const Snapshot& snapshot, const std::string& path, const fs::path& to) override {
    const RemoteFile file = needed(snapshot, path);
    const std::lock_guard one_at_a_time(transfer_mutex_);
    voice_.begin(1, file.size);
    try {
      transfer_into(context(), snapshot, file, to);
      voice_.file_done();
    } catch (...) {
      voice_.end();
      if (doubts_list(std::current_exception())) (void)ask_again(snapshot);
      throw;
    }
    voice_.end();
  }

  std::unique_ptr<RandomAccess> open(const Snapshot& snapshot, const std::string& path) override {
    if (const auto there = whole_in_cache(snapshot, path)) return open_cached_file(*there);
    return open_remote(context(), snapshot, needed(snapshot, path), [this, snapshot] { (void)ask_again(snapshot); });
  }

 private:
  struct Wanted {
    RemoteFile file;
    fs::path* place;
  };

  TransferContext context() { return {settings_, pool_, voice_, *protocol_, *cache_}; }

  // What spares a request the next time. A cache that belongs to others may be read all the same.
  template <typename Work>
  void keep(const Work& work) {
    try {
      work();
    } catch (const Error& error) {
      voice_.warn(error.what());
    }
  }

  // Commits do not change, so each is asked for once. A hub that tells no commit lists a branch, which may have moved on.
  std::shared_ptr<const Listing> listing(const Snapshot& snapshot) {
    require_names(snapshot.repo);
    const std::lock_guard lock(listing_mutex_);
    std::shared_ptr<const Listing>& known = listings_[key_of(snapshot)];
    if (known != nullptr) return known;
    if (settings_.offline || is_commit(snapshot.commit))
      if (auto kept = cache_->listing(snapshot)) return known = std::make_shared<const Listing>(*std::move(kept));
    if (settings_.offline) return known = std::make_shared<const Listing>(cache_->present(snapshot));
    auto asked = std::make_shared<const Listing>(protocol_->list(snapshot));
    asked_.insert(key_of(snapshot));
    keep([&] { cache_->keep_listing(snapshot, *asked); });
    return known = std::move(asked);
  }

  static std::string key_of(const Snapshot& snapshot) { return str(describe(snapshot.repo), "@", snapshot.commit); }

  // A content that is not the listed one, or no file where one is listed.
  static bool doubts_list(const std::exception_ptr& failure) {
    try {
      std::rethrow_exception(failure);
    } catch (const WrongFile&) {
      return true;
    } catch (const Error& error) {
      return error.code() == ErrorCode::input;
    } catch (...) {
      return false;
    }
  }

  // Where the hub can be asked what is whole. A file that is there is used also where it cannot.
  std::optional<fs::path> whole_in_cache(const Snapshot& snapshot, const std::string& path) {
    if (!is_repo_path(path))
      throw_input(str(describe(snapshot.repo), ": '", printable(path), "' is no name of a file"));
    auto there = cache_->find(snapshot, path);
    if (!there || settings_.offline) return there;
    try {
      const std::shared_ptr<const Listing> all = listing(snapshot);
      const RemoteFile* file = find_file(*all, path);
      return file == nullptr || has_size(*there, file->size) ? std::move(there) : std::nullopt;
    } catch (const Error& error) {
      if (error.code() != ErrorCode::resource) throw;
      voice_.warn(str(error.what(), "; '", path, "' of the cache is used"));
      return there;
    }
  }

  RemoteFile needed(const Snapshot& snapshot, const std::string& path) {
    const std::string what = str(describe(snapshot.repo), ": '", path, "'");
    if (settings_.offline)
      throw_input(str(what, ": is not in the cache '", settings_.cache.string(),
                      "', and HF_HUB_OFFLINE forbids "
                      "downloading it; unset it"));
    do {
      const std::shared_ptr<const Listing> all = listing(snapshot);
      if (const RemoteFile* file = find_file(*all, path)) return *file;
    } while (ask_again(snapshot));
    cache_->keep_absence(snapshot, path);
    throw_input(str(what, ": is not there at revision '", snapshot.repo.revision, "'"));
  }

  int64_t missing_bytes(const Snapshot& snapshot, const std::vector<Wanted>& wanted) {
    int64_t bytes = 0;
    for (const Wanted& one : wanted) {
      const Cache::Place place = cache_->place(snapshot, one.file);
      std::error_code error;
      if (!place.blob.empty() && has_size(place.blob, one.file.size)) continue;
      const uintmax_t there = fs::file_size(place.incomplete, error);
      bytes += std::max<int64_t>(0, one.file.size - (error ? 0 : static_cast<int64_t>(there)));
    }
    return bytes;
  }

  // Several at once. The first that fails ends the others; what they have stays for the next time.
  std::exception_ptr transfer_all(const Snapshot& snapshot, const std::vector<Wanted>& wanted) {
    std::atomic<size_t> next = 0;
    std::exception_ptr failed;
    std::mutex failed_mutex;
    const auto work = [&] {
      try {
        for (size_t i = next++; i < wanted.size() && !stop_; i = next++) {
          *wanted[i].place = transfer(context(), snapshot, wanted[i].file);
          voice_.file_done();
        }
      } catch (...) {
        const std::lock_guard lock(failed_mutex);
        if (failed == nullptr) failed = std::current_exception();
        stop_ = true;
      }
    };
    const size_t threads = std::min(wanted.size(), static_cast<size_t>(std::max(settings_.parallel, 1)));
    const std::lock_guard one_at_a_time(transfer_mutex_);  // stop_ is of one download
    stop_ = false;
    std::vector<std::thread> others;
    for (size_t i = 1; i < threads; ++i) others.emplace_back(work);
    work();
    for (std::thread& thread : others) thread.join();
    stop_ = false;
    return failed;
  }

  Settings settings_;
  Voice voice_;
  std::atomic<bool> stop_ = false;
  HttpPool pool_;
  std::unique_ptr<Protocol> protocol_;
  std::unique_ptr<Cache> cache_;
  std::mutex listing_mutex_, transfer_mutex_;
  std::map<std::string, std::shared_ptr<const Listing>> listings_;  // by key_of()
  std::set<std::string> asked_;                                     // whose list the hub itself gave in this process
};

}  // namespace

std::unique_ptr<Hub> open_hub(const Settings& settings, Reporter& reporter) {
  return std::make_unique<RemoteHub>(settings, reporter);
}

}  // namespace arkit::hub
