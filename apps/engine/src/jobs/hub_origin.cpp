#include "jobs/hub_origin.h"

#include <arkit/error.h>
#include <arkit/str.h>

#include "hub/model_place.h"

namespace arkit {
namespace fs = std::filesystem;

json::Object hub_origin(const std::string& model) {
  const auto place = hub::fetched_model(model);
  if (!place) return {};
  return {{"service", hub::service_name(place->name.service)},
          {"id", place->name.repo.id},
          {"revision", place->name.repo.revision},
          {"commit", place->commit}};
}

void require_listed(const std::string& model, const json::Array& files) {
  const auto place = hub::fetched_model(model);
  if (!place) return;
  const auto listed = hub::listed_hashes(*place);
  const fs::path folder = fs::is_regular_file(place->path) ? place->path.parent_path() : place->path;
  for (const json::Value& value : files) {
    const json::Object& file = value.as_object();
    const std::string name(file.at("name").as_string()), sha256(file.at("sha256").as_string());
    const auto expected = listed.find(name);
    if (expected == listed.end() || expected->second == sha256) continue;
    std::error_code error;
    const fs::path content = fs::canonical(folder / name, error);  // a blob, where the snapshot has links
    throw_input(str("'", (folder / name).string(), "': was damaged in the cache: its content has the SHA-256 ", sha256,
                    ", and the hub lists ", expected->second, "; remove '", (error ? folder / name : content).string(),
                    "' and run the same command again"));
  }
}

std::string model_at_commit(const json::Object& origin, std::string_view where) {
  const auto text = [&](std::string_view key) { return json::get_string(origin, key, where).value_or(""); };
  if (origin.empty()) return {};
  const std::string name = str(text("service"), ":", text("id"), "@", text("commit"));
  if (!hub::parse_model_name(name))
    throw_input(str(where, ": its hub '", printable(name), "' is no service, id and commit"));
  return name;
}

std::string model_label(const std::string& model, const fs::path& path) {
  if (const auto place = hub::fetched_model(model)) return place->name.repo.id;
  if (auto id = hub::outlined_id(path)) return *std::move(id);
  return path.filename().empty() ? path.parent_path().filename().string() : path.filename().string();
}

}  // namespace arkit
