#pragma once
// A hub of models and data sets: which files a repository holds, and their bytes, from the local cache that
// huggingface_hub shares, else over HTTPS. Nothing else of the engine knows of URLs, tokens or the cache's layout.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <arkit/error.h>
#include <arkit/export.h>

namespace arkit {
class Reporter;
}

namespace arkit::hub {

struct Settings;

enum class RepoKind { model, dataset };

struct Repo {
  RepoKind kind = RepoKind::model;
  std::string id;                 // "Qwen/Qwen3-0.6B"; data sets of old have no owner: "mbpp"
  std::string revision = "main";  // branch, tag or commit; "main" is a hub's usual branch, however it calls it
};

// A repository at one commit: what a run reads does not change while it reads.
struct Snapshot {
  Repo repo;
  std::string commit;  // 40 hexadecimal digits; of hubs that do not tell it, the revision
};

// A file of a snapshot.
struct Entry {
  std::string path;         // inside the repository, with '/'; never absolute, no "..", no control characters
  int64_t size = 0;         // bytes
  std::string sha256 = {};  // of its content, 64 digits, where the hub tells it
};

// Bytes of a remote file by ranges; nothing of it is kept. Not thread-safe.
class RandomAccess {
 public:
  virtual ~RandomAccess() = default;
  [[nodiscard]] virtual int64_t size() const = 0;
  // Fills `to` with the `count` bytes from `offset`. Throws ErrorCode::input when the range is outside the file,
  // ErrorCode::resource when it cannot be had after all retries.
  virtual void read(int64_t offset, int64_t count, void* to) = 0;
};

// Nothing says that there is such a repository: the hub does not know it, or cannot be asked.
class UnknownRepo final : public Error {
 public:
  using Error::Error;
};

// Thread-safe. Errors: ErrorCode::input for what the user can mend (unknown repository, gated, no token, offline and not
// in the cache), ErrorCode::resource for the network and the disk; one sentence each; of an unknown repository as UnknownRepo.
class Hub {
 public:
  virtual ~Hub() = default;
  // Asks the hub for the commit behind a revision, or the cache when offline or when the hub cannot be reached.
  [[nodiscard]] virtual Snapshot snapshot(const Repo& repo) = 0;
  // All files, sorted by path; offline: those in the cache.
  [[nodiscard]] virtual std::vector<Entry> files(const Snapshot& snapshot) = 0;
  // The list of an earlier run is doubted, as something of it is not as the hub has it: that of the hub takes its place.
  // False where there is no other one.
  virtual bool ask_again(const Snapshot& snapshot) = 0;
  // The file in the cache, downloaded and checked when it is not there.
  [[nodiscard]] virtual std::filesystem::path fetch(const Snapshot& snapshot, const std::string& path) = 0;
  // The same for many, several at once where a hub can; in the order of `paths`.
  [[nodiscard]] virtual std::vector<std::filesystem::path> fetch_all(const Snapshot& snapshot,
                                                                     const std::vector<std::string>& paths) {
    std::vector<std::filesystem::path> all;
    for (const std::string& path : paths) all.push_back(fetch(snapshot, path));
    return all;
  }
  // The whole file into `to`, outside of the cache: what lies there is taken for its beginning and gone on with. Checked
  // when it returns; when it throws, what came so far lies there, and nothing of a content that was wrong.
  virtual void fetch_into(const Snapshot& snapshot, const std::string& path, const std::filesystem::path& to) = 0;
  // The file by ranges, from the cache where it is there.
  [[nodiscard]] virtual std::unique_ptr<RandomAccess> open(const Snapshot& snapshot, const std::string& path) = 0;
};

// The hub that `settings` (settings.h) names. `reporter` hears of progress and of waiting, from one thread at a time,
// and outlives the hub.
[[nodiscard]] ARKIT_INTERNAL std::unique_ptr<Hub> open_hub(const Settings& settings, Reporter& reporter);

}  // namespace arkit::hub
