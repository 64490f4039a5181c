#include "output/old_export.h"

#include <algorithm>
#include <array>
#include <span>
#include <string_view>

#include <arkit/error.h>
#include <arkit/json.h>

#include "io/companion_files.h"

namespace arkit::output {
namespace fs = std::filesystem;

namespace {

constexpr const char* kRecord = "arkit-run.json";
constexpr const char* kCard = "README.md";
constexpr int64_t kMaxRecordBytes = int64_t{256} << 20;

// Without them a folder's new weights would be read together with old ones, whoever wrote those.
bool is_model_file(std::string_view name) {
  static constexpr std::array<std::string_view, 6> kNames{
      "model.safetensors",        "model.safetensors.index.json", "model_extra_tensors.safetensors",
      "quantization_config.json", "quantize_config.json",         "quant_config.json"};
  constexpr std::string_view kShard = "model-#####-of-#####.safetensors";
  const bool shard =
      name.size() == kShard.size() && std::equal(name.begin(), name.end(), kShard.begin(), [](char c, char pattern) {
        return pattern == '#' ? c >= '0' && c <= '9' : c == pattern;
      });
  return shard || std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

// Of an export that has no record: made by another program, or before records listed files.
bool is_known_file(std::string_view name) {
  const std::span<const std::string_view> texts = io::well_known_texts();
  return name == "config.json" || name == "recipe.yaml" || name == kRecord || name == kCard ||
         name.ends_with(".safetensors") || std::find(texts.begin(), texts.end(), name) != texts.end();
}

// A name in a record is a file below its folder, or nothing of ours.
bool stays_inside(const fs::path& name) {
  return !name.empty() && name.is_relative() && name == name.lexically_normal() && *name.begin() != ".." &&
         name != "." && name.has_filename();
}

// A file that is reached without following a link.
bool is_own_file(const fs::path& folder, const fs::path& name) {
  fs::path at = folder;
  std::error_code error;
  for (const fs::path& part : name.parent_path())
    if (!fs::is_directory(fs::symlink_status(at /= part, error))) return false;
  const fs::file_status status = fs::symlink_status(folder / name, error);
  return fs::exists(status) && !fs::is_directory(status);
}

json::Object read_record(const fs::path& folder) {
  if (!is_own_file(folder, kRecord)) return {};
  try {
    return json::as_object(json::read_file(folder / kRecord, kMaxRecordBytes), kRecord);
  } catch (const Error&) {
    return {};  // whatever it was: the known names decide
  }
}

std::vector<fs::path> recorded_files(const json::Object& record) {
  std::vector<fs::path> files;
  const json::Value* names = json::find(record, "files");
  if (names == nullptr || !names->is_array()) return files;
  for (const json::Value& name : names->get_array())
    if (name.is_string() && stays_inside(std::string(name.get_string())))
      files.emplace_back(std::string(name.get_string()));
  return files;
}

// The export in `folder`, relative to `root`.
void add_export(const fs::path& root, const fs::path& folder, std::set<fs::path>& files) {
  const fs::path place = root / folder;
  const json::Object record = read_record(place);
  const std::vector<fs::path> recorded = recorded_files(record);
  for (const fs::path& name : recorded)
    if (is_own_file(place, name)) files.insert(folder / name);
  const bool by_name = recorded.empty() && is_own_file(place, "config.json");
  std::error_code error;
  for (fs::directory_iterator it(place, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (!is_own_file(place, name)) continue;
    const bool ours = name == kRecord || (!recorded.empty() && name == kCard);
    if (ours || is_model_file(name) || (by_name && is_known_file(name))) files.insert(folder / name);
  }
}

// A run of several formats calls its folders by their names.
bool made_by_several(const fs::path& folder, const std::string& name) {
  const json::Object record = read_record(folder);
  const json::Value* format = json::find(record, "format");
  if (format == nullptr || !format->is_string()) return false;
  std::string called(format->get_string());
  std::replace(called.begin(), called.end(), ':', '-');
  return called == name;
}

}  // namespace

std::set<fs::path> exports_in(const fs::path& folder, const std::vector<std::string>& subfolders,
                              const fs::path& spared) {
  const auto is_spared = [&](const fs::path& place) {
    std::error_code ignored;
    return !spared.empty() && fs::equivalent(place, spared, ignored);
  };
  std::set<fs::path> files;
  if (!is_spared(folder)) add_export(folder, {}, files);
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (!fs::is_directory(it->symlink_status()) || is_spared(it->path())) continue;
    const bool wanted = std::find(subfolders.begin(), subfolders.end(), name) != subfolders.end();
    if (wanted || made_by_several(it->path(), name)) add_export(folder, name, files);
  }
  return files;
}

}  // namespace arkit::output
