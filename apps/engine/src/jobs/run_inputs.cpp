#include "jobs/run_inputs.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <arkit/engine/option_table.h>
#include <arkit/error.h>
#include <arkit/family_files.h>
#include <arkit/model_adapter.h>

#include "calibration/dataset_registry.h"
#include "calibration/dataset_spec.h"
#include "options/option_json.h"
#include "util/data_file.h"
#include "util/sha256.h"

namespace arkit {
namespace fs = std::filesystem;

namespace {

constexpr std::string_view kDataset = "dataset";  // a list with a grammar of its own

bool is_file(const fs::path& path) {
  std::error_code failed;
  return fs::is_regular_file(path, failed);
}

json::Object hashed(json::Object entry, const fs::path& path) {
  entry["bytes"] = static_cast<int64_t>(fs::file_size(path));
  entry["sha256"] = sha256_file(path);
  return entry;
}

json::Object hashed_input(std::string_view option, const fs::path& path) {
  return hashed({{"option", option}, {"path", fs::absolute(path).lexically_normal().string()}}, path);
}

using NamedFiles = std::map<std::string, fs::path>;

NamedFiles text_files(const ModelSource& source) {
  NamedFiles files;
  for (const CompanionFile& companion : source.companions())
    if (!companion.path.empty()) files[companion.name] = companion.path;
  std::error_code failed;
  if (fs::is_directory(source.path(), failed)) files["config.json"] = source.path() / "config.json";
  return files;
}

json::Array hash_texts(const NamedFiles& files) {
  json::Array texts;
  for (const auto& [name, path] : files)
    if (is_file(path)) texts.push_back(hashed({{"name", name}}, path));
  return texts;
}

// Entries of --dataset that are files here, and the files that describe data sets. What cannot be found is the business
// of who reads it.
std::set<fs::path> dataset_files(const std::string& dataset) {
  std::set<fs::path> files;
  for (const calibration::DatasetSpec& spec : calibration::parse_dataset(dataset)) {
    if (is_file(spec.name)) {
      files.insert(spec.name);
      continue;
    }
    const calibration::KnownDataset* known = calibration::find_dataset(spec.name);
    // Those of arkit come with its version.
    if (known != nullptr && known->file.parent_path() != shared_data_folder("datasets")) files.insert(known->file);
  }
  return files;
}

}  // namespace

RunInputs::RunInputs(const QuantizeOptions& options, const ModelSource& source, const Registry& registry)
    : working_directory_(fs::current_path().string()),
      hashed_(std::async(std::launch::async, [files = text_files(source), &registry] {
        return Hashed{hash_texts(files), hash_plugins(registry)};
      })) {
  family_ = hash_family(source.config(), registry);
  const QuantizeOptions usual;
  for (const OptionOf<QuantizeOptions>& one : option_table<QuantizeOptions>()) {
    const OptionValue value = one.get(options);
    if (value == one.get(usual)) continue;
    given_[one.row.name] = option_to_json(one.row, value);
    const auto* name = std::get_if<std::string>(&value);
    if (!one.row.names_file || name == nullptr) continue;
    for (const fs::path& file : one.row.name == kDataset ? dataset_files(*name) : std::set<fs::path>{*name})
      if (is_file(file)) files_.push_back(hashed_input(one.row.name, file));
  }
}

void RunInputs::add_samples(const json::Object& report) {
  const json::Value* entries = json::find(report, "entries");
  if (entries == nullptr || !entries->is_array()) return;
  for (const json::Value& entry : entries->get_array())
    if (const json::Value* files = json::find(entry.as_object(), "files"); files != nullptr && files->is_array())
      for (const json::Value& file : files->get_array()) {
        const fs::path path = fs::absolute(file.as_string().c_str()).lexically_normal();
        const bool known = std::any_of(files_.begin(), files_.end(), [&](const json::Value& input) {
          return input.at("option").as_string() == kDataset && input.at("path").as_string() == path.string();
        });
        if (!known && is_file(path)) files_.push_back(hashed_input(kDataset, path));
      }
}

void RunInputs::add_to(json::Object& record) const {
  const Hashed& hashes = hashed_.get();
  record["given"] = given_;
  record["working_directory"] = working_directory_;
  record["source"].as_object()["texts"] = hashes.texts;
  record["inputs"] = files_;
  if (!family_.is_null()) record["family"] = family_;
  record["plugins"] = hashes.plugins;
}

json::Value hash_family(const json::Object& config, const Registry& registry) {
  for (const std::string& name : registry.names(Kind::model))
    if (const auto* files = dynamic_cast<const FamilyFiles*>(&registry.model(name)))
      if (const std::optional<FamilyFile> family = files->family_of(config))
        return hashed({{"name", family->name}, {"path", family->path.string()}}, family->path);
  return nullptr;
}

json::Array hash_plugins(const Registry& registry) {
  json::Array plugins;
  for (const PluginEntry& plugin : registry.plugins())
    if (plugin.state == PluginState::loaded)
      plugins.push_back(
          json::Object{{"id", plugin.id}, {"version", plugin.version}, {"sha256", sha256_file(plugin.path)}});
  return plugins;
}

}  // namespace arkit
