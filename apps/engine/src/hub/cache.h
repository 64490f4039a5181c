#pragma once
// Where files of hubs lie on this disk. Two layouts: that of huggingface_hub and that of ModelScope's own client, each
// shared with it (docs/HUB.md). Whatever is found under a final name is complete; what is not lies beside it under
// another.

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "hub/hub.h"
#include "hub/listing.h"
#include "hub/settings.h"

namespace arkit::hub {

class Cache {
 public:
  explicit Cache(const Settings& settings) : settings_(settings) {}
  virtual ~Cache() = default;

  // The commit that a branch or tag had when it was last asked for; a commit is itself. Nothing when not known.
  [[nodiscard]] virtual std::optional<std::string> commit_of(const Repo& repo) const = 0;
  virtual void keep_commit(const Snapshot& snapshot) = 0;

  [[nodiscard]] std::optional<Listing> listing(const Snapshot& snapshot) const;
  void keep_listing(const Snapshot& snapshot, const Listing& listing);

  // The folder that looks like the repository.
  [[nodiscard]] virtual std::filesystem::path folder(const Snapshot& snapshot) const = 0;
  // The file, where it is there and whole. Throws ErrorCode::input for a link that leads out of the cache.
  [[nodiscard]] std::optional<std::filesystem::path> find(const Snapshot& snapshot, const std::string& path) const;
  // What lies in folder(), as a listing without hashes.
  [[nodiscard]] Listing present(const Snapshot& snapshot) const;

  // All links of folder() lead to what belongs to the cache. Throws ErrorCode::input for one that does not: in a cache
  // that others may write to, it would put a file of this user's into an export.
  void require_own_links(const Snapshot& snapshot) const;

  // Where a file is downloaded to, and what other processes that want it are locked out with.
  struct Place {
    std::filesystem::path lock, incomplete;
    std::filesystem::path blob;  // its content under the name of its hash; empty where the layout has no blobs
  };
  [[nodiscard]] virtual Place place(const Snapshot& snapshot, const RemoteFile& file) const = 0;
  // The checked content of place().incomplete where it was `downloaded`, else that of place().blob, appears as find()
  // sees it.
  virtual std::filesystem::path publish(const Snapshot& snapshot, const RemoteFile& file, const Place& place,
                                        bool downloaded) = 0;

  // Do the files of all commits of a branch lie at one place, so that one of the right size may be of another commit?
  [[nodiscard]] virtual bool mixes_commits() const { return false; }

  // That the hub says there is no such file.
  virtual void keep_absence(const Snapshot& snapshot, const std::string& path) = 0;

 protected:
  // Of what is kept about one repository.
  [[nodiscard]] virtual std::filesystem::path repo_folder(const Repo& repo) const = 0;

  const Settings& settings_;

 private:
  void require_own(const Repo& repo, const std::filesystem::path& link) const;
};

// `settings` outlives it.
[[nodiscard]] ARKIT_INTERNAL std::unique_ptr<Cache> open_cache(const Settings& settings);

}  // namespace arkit::hub
