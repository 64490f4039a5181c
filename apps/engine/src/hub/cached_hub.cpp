#include "hub/cached_hub.h"

#include <algorithm>
#include <fstream>
#include <system_error>

#include <arkit/error.h>
#include <arkit/str.h>

#include "hub/local_file.h"
#include "util/hub_cache.h"

namespace arkit::hub {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxFiles = 100'000;

class CachedHub final : public Hub {
 public:
  [[nodiscard]] Snapshot snapshot(const Repo& repo) override {
    if (const std::string commit = commit_of(repo); !commit.empty()) return {repo, commit};
    const bool data = repo.kind == RepoKind::dataset;
    throw_input(str(data ? "data set '" : "model '", printable(repo.id), "'",
                    repo.revision == "main" ? "" : str(" at '", printable(repo.revision), "'"),
                    ": not in the local Hugging Face cache '", io::hub_cache_folder().string(),
                    "'; bring it there with: hf download ", data ? "--repo-type dataset " : "", printable(repo.id)));
  }

  [[nodiscard]] std::vector<Entry> files(const Snapshot& snapshot) override {
    const fs::path root = folder(snapshot);
    std::vector<Entry> entries;
    std::error_code error;
    for (fs::recursive_directory_iterator it(root, error), end; !error && it != end; it.increment(error)) {
      std::error_code failed;
      if (!it->is_regular_file(failed)) continue;
      if (entries.size() == kMaxFiles) throw_input(str("'", root.string(), "': holds more than ", kMaxFiles, " files"));
      entries.push_back({it->path().lexically_relative(root).generic_string(),
                         static_cast<int64_t>(fs::file_size(it->path(), failed))});
    }
    std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.path < b.path; });
    return entries;
  }

  [[nodiscard]] fs::path fetch(const Snapshot& snapshot, const std::string& path) override {
    const fs::path inside(path);
    const bool outside = inside.is_absolute() ||
                         std::any_of(inside.begin(), inside.end(), [](const fs::path& part) { return part == ".."; });
    const fs::path file = folder(snapshot) / inside;
    std::error_code error;
    if (outside || !fs::is_regular_file(file, error))
      throw_input(str("data set '", printable(snapshot.repo.id), "': '", printable(path),
                      "' is not in the local Hugging Face cache; bring it there with: hf download --repo-type dataset ",
                      printable(snapshot.repo.id), " ", printable(path)));
    return file;
  }

  [[nodiscard]] std::unique_ptr<RandomAccess> open(const Snapshot& snapshot, const std::string& path) override {
    return open_local_file(fetch(snapshot, path));
  }

 private:
  static fs::path repository(const Repo& repo) {
    std::string name = repo.kind == RepoKind::dataset ? "datasets--" : "models--";
    for (const char c : repo.id) name += c == '/' ? std::string("--") : std::string(1, c);
    return io::hub_cache_folder() / name;
  }
  static fs::path folder(const Snapshot& snapshot) { return repository(snapshot.repo) / "snapshots" / snapshot.commit; }
  // The commit behind a revision; for the usual one, where no ref says it, the only snapshot there is.
  static std::string commit_of(const Repo& repo) {
    if (!io::is_hub_id(repo.id + "@" + repo.revision)) return {};
    const fs::path snapshots = repository(repo) / "snapshots";
    std::error_code error;
    if (fs::is_directory(snapshots / repo.revision, error)) return repo.revision;
    std::string commit;
    std::ifstream(repository(repo) / "refs" / repo.revision) >> commit;
    if (!commit.empty() && commit.find_first_of("/.") == std::string::npos &&
        fs::is_directory(snapshots / commit, error))
      return commit;
    if (repo.revision != Repo{}.revision) return {};
    std::vector<std::string> found;
    for (fs::directory_iterator it(snapshots, error), end; !error && it != end; it.increment(error))
      found.push_back(it->path().filename().string());
    return found.size() == 1 ? found.front() : std::string();
  }
};

}  // namespace

std::unique_ptr<Hub> open_cached_hub() {
  return std::make_unique<CachedHub>();
}

}  // namespace arkit::hub
