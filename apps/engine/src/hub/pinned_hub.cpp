#include "hub/pinned_hub.h"

#include <utility>

namespace arkit::hub {
namespace {

class PinnedHub final : public Hub {
 public:
  PinnedHub(std::unique_ptr<Hub> inner, std::map<std::string, std::string> commits)
      : inner_(std::move(inner)), commits_(std::move(commits)) {}

  Snapshot snapshot(const Repo& repo) override {
    Repo wanted = repo;
    const auto commit = commits_.find(repo.id);
    if (repo.kind == RepoKind::dataset && repo.revision == Repo{}.revision && commit != commits_.end())
      wanted.revision = commit->second;
    return inner_->snapshot(wanted);
  }
  std::vector<Entry> files(const Snapshot& snapshot) override { return inner_->files(snapshot); }
  bool ask_again(const Snapshot& snapshot) override { return inner_->ask_again(snapshot); }
  std::filesystem::path fetch(const Snapshot& snapshot, const std::string& path) override {
    return inner_->fetch(snapshot, path);
  }
  std::vector<std::filesystem::path> fetch_all(const Snapshot& snapshot,
                                               const std::vector<std::string>& paths) override {
    return inner_->fetch_all(snapshot, paths);
  }
  void fetch_into(const Snapshot& snapshot, const std::string& path, const std::filesystem::path& to) override {
    inner_->fetch_into(snapshot, path, to);
  }
  std::unique_ptr<RandomAccess> open(const Snapshot& snapshot, const std::string& path) override {
    return inner_->open(snapshot, path);
  }

 private:
  std::unique_ptr<Hub> inner_;
  std::map<std::string, std::string> commits_;
};

}  // namespace

std::unique_ptr<Hub> pinned(std::unique_ptr<Hub> inner, std::map<std::string, std::string> commits) {
  if (commits.empty()) return inner;
  return std::make_unique<PinnedHub>(std::move(inner), std::move(commits));
}

}  // namespace arkit::hub
