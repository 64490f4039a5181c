#include "hub/repo_names.h"

#include <algorithm>
#include <vector>

#include <arkit/str.h>

namespace arkit::hub {
namespace {

constexpr size_t kMostPart = 96;   // of an id
constexpr size_t kMostName = 255;  // of a part of a path
constexpr size_t kMostPath = 1024;

bool is_id_part(std::string_view part) {
  if (part.empty() || part.size() > kMostPart || part.front() == '.' || part.front() == '-') return false;
  if (part.find("--") != std::string_view::npos || part.find("..") != std::string_view::npos) return false;
  return std::all_of(part.begin(), part.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' ||
           c == '.';
  });
}

bool is_control(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}

}  // namespace

bool is_repo_id(std::string_view id) {
  const auto parts = split(id, '/');
  return (parts.size() == 1 || parts.size() == 2) && std::all_of(parts.begin(), parts.end(), is_id_part);
}

// Branch names may contain "/" ("refs/pr/1"); each part obeys the rule of ids.
bool is_revision(std::string_view revision) {
  const auto parts = split(revision, '/');
  return !parts.empty() && std::all_of(parts.begin(), parts.end(), is_id_part);
}

Repo repo_of(RepoKind kind, std::string_view text) {
  const size_t at = text.find('@');
  Repo repo{.kind = kind, .id = std::string(text.substr(0, at))};
  if (at != std::string_view::npos) repo.revision = text.substr(at + 1);
  return repo;
}

bool is_repo_at_revision(std::string_view text) {
  const Repo repo = repo_of(RepoKind::model, text);
  return is_repo_id(repo.id) && is_revision(repo.revision);
}

bool is_hex(std::string_view text, size_t digits) {
  return text.size() == digits &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool is_commit(std::string_view text) {
  return is_hex(text, 40);
}

bool is_repo_path(std::string_view path) {
  if (path.empty() || path.size() > kMostPath || path.back() == '/') return false;
  if (path.find('\\') != std::string_view::npos || std::any_of(path.begin(), path.end(), is_control)) return false;
  const auto parts = split(path, '/');
  return std::all_of(parts.begin(), parts.end(), [](const std::string& part) {
    return !part.empty() && part != "." && part != ".." && part.size() <= kMostName;
  });
}

std::optional<ModelName> parse_model_name(std::string_view text) {
  ModelName name{usual_service(), {}};
  for (const Service service : {Service::hugging_face, Service::modelscope}) {
    const std::string prefix = str(service_name(service), ":");
    if (!text.starts_with(prefix)) continue;
    name.service = service;
    text.remove_prefix(prefix.size());
    break;
  }
  name.repo = repo_of(RepoKind::model, text);
  if (!is_repo_id(name.repo.id) || !is_revision(name.repo.revision)) return std::nullopt;
  return name;
}

std::string modelscope_revision(const Repo& repo) {
  return repo.revision == Repo{}.revision ? "master" : repo.revision;
}

std::string spelled(Service service, const Repo& repo) {
  return str(service_name(service), ":", repo.id, repo.revision == "main" ? "" : "@",
             repo.revision == "main" ? "" : repo.revision);
}

std::string describe(const Repo& repo) {
  return str(repo.kind == RepoKind::dataset ? "dataset '" : "model '", printable(repo.id), "'");
}

}  // namespace arkit::hub
