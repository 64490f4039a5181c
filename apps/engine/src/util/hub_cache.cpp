#include "util/hub_cache.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>
#include <system_error>

#include <arkit/error.h>
#include <arkit/str.h>

#include "io/safe_path.h"

namespace arkit::io {
namespace fs = std::filesystem;
namespace {

constexpr size_t kMaxPart = 96;  // of a hub id

struct HubId {
  std::string repo, revision;
};

HubId split_revision(std::string_view id) {
  const size_t at = id.find('@');
  if (at == std::string_view::npos) return {std::string(id), "main"};
  return {std::string(id.substr(0, at)), std::string(id.substr(at + 1))};
}

bool is_id_part(std::string_view part) {
  if (part.empty() || part.size() > kMaxPart || part.front() == '.' || part.front() == '-') return false;
  if (part.find("--") != std::string_view::npos || part.find("..") != std::string_view::npos) return false;
  return std::all_of(part.begin(), part.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' ||
           c == '.';
  });
}

// Branch names may contain "/" ("refs/pr/1"); each part obeys the rule of ids.
bool is_revision(std::string_view revision) {
  const auto parts = split(revision, '/');
  return !parts.empty() && std::all_of(parts.begin(), parts.end(), is_id_part);
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

// The commit a branch or tag points to; empty when the cache does not know it.
std::string commit_of(const fs::path& repo, const std::string& revision) {
  std::error_code error;
  if (fs::is_directory(repo / "snapshots" / revision, error)) return revision;
  if (!fs::is_regular_file(repo / "refs" / revision, error)) return {};
  std::ifstream in(repo / "refs" / revision);
  std::string commit;
  in >> commit;
  return is_id_part(commit) ? commit : std::string();
}

}  // namespace

bool is_hub_id(std::string_view text) {
  const HubId id = split_revision(text);
  const auto parts = split(id.repo, '/');
  return (parts.size() == 1 || parts.size() == 2) && std::all_of(parts.begin(), parts.end(), is_id_part) &&
         is_revision(id.revision);
}

fs::path hub_cache_folder() {
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"})
    if (const std::string folder = environment(name); !folder.empty()) return folder;
  if (const std::string home = environment("HF_HOME"); !home.empty()) return fs::path(home) / "hub";
  if (const std::string cache = environment("XDG_CACHE_HOME"); !cache.empty())
    return fs::path(cache) / "huggingface/hub";
  return fs::path(environment("HOME")) / ".cache/huggingface/hub";
}

fs::path resolve_hub_id(std::string_view text) {
  if (!is_hub_id(text)) throw_input(str("'", printable(text), "': is neither a path nor a hub id (org/name)"));
  const HubId id = split_revision(text);
  std::string folder = "models--" + id.repo;
  if (const size_t slash = folder.find('/'); slash != std::string::npos) folder.replace(slash, 1, "--");
  const fs::path repo = hub_cache_folder() / folder;
  const std::string commit = commit_of(repo, id.revision);
  const std::string command = str("hf download ", id.repo, id.revision == "main" ? "" : " --revision ",
                                  id.revision == "main" ? "" : id.revision);
  const fs::path snapshot = repo / "snapshots" / commit;
  std::error_code error;
  if (commit.empty() || !fs::is_directory(snapshot, error))
    throw_input(str("model '", text, "': no such path, and not in the Hugging Face cache '",
                    hub_cache_folder().string(), "'; download it with: ", command));
  if (!has_entry(snapshot, "config.json"))
    throw_input(str("model '", text, "': its copy in the Hugging Face cache is incomplete ('", snapshot.string(),
                    "' has no config.json); complete it with: ", command));
  return snapshot;
}

}  // namespace arkit::io
