#include "hub/model_files.h"

#include <algorithm>
#include <array>
#include <set>
#include <system_error>

#include <arkit/error.h>
#include <arkit/json.h>
#include <arkit/str.h>

#include "hub/repo_names.h"
#include "io/weight_names.h"

namespace arkit::hub {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kLargestText = int64_t{256} << 20;  // of a file that is no weights: vocabularies have tens of MB
constexpr std::string_view kModules = "modules.json";
constexpr std::array<std::string_view, 9> kPictures{".png",  ".jpg", ".jpeg", ".gif", ".svg",
                                                    ".webp", ".pdf", ".mp4",  ".ico"};
constexpr std::array<std::string_view, 7> kPickles{".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".distcp"};

using Names = std::set<std::string, std::less<>>;

template <size_t N>
bool ends_with_one(std::string_view name, const std::array<std::string_view, N>& endings) {
  const std::string small = lower(name);
  return std::any_of(endings.begin(), endings.end(), [&](std::string_view ending) { return small.ends_with(ending); });
}

std::string_view file_name(std::string_view path) {
  return path.substr(path.rfind('/') + 1);  // npos + 1 = 0
}

std::string_view folder_of(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

bool is_safetensors(std::string_view path) {
  return path.ends_with(".safetensors");
}

bool is_index(std::string_view path) {
  return path.ends_with(".safetensors.index.json");
}

bool is_hidden(std::string_view path) {
  return path.starts_with('.') || path.find("/.") != std::string_view::npos ||
         path.find("__pycache__") != std::string_view::npos;
}

bool is_adapter(std::string_view path) {
  return path.starts_with("adapter_");
}

// Folders that hold weights: models of their own, other formats. Those below them, too.
Names folders_with_weights(const std::vector<Entry>& entries) {
  Names folders;
  for (const Entry& entry : entries)
    if (io::is_weight_name(file_name(entry.path)) && !folder_of(entry.path).empty())
      folders.insert(std::string(folder_of(entry.path)));
  return folders;
}

bool is_below(std::string_view path, const Names& folders) {
  for (std::string_view folder = folder_of(path); !folder.empty(); folder = folder_of(folder))
    if (folders.contains(folder)) return true;
  return false;
}

// Modules of a pipeline (sentence-transformers) are part of the model.
Names pipeline_modules(const fs::path& folder) {
  Names modules;
  std::error_code error;
  if (folder.empty() || !fs::is_regular_file(folder / kModules, error)) return modules;
  const json::Value list = json::read_file(folder / kModules);
  if (!list.is_array()) return modules;
  for (const json::Value& item : list.get_array()) {
    const json::Value* path = item.is_object() ? json::find(item.get_object(), "path") : nullptr;
    if (path != nullptr && path->is_string() && is_repo_path(path->get_string())) modules.emplace(path->get_string());
  }
  return modules;
}

bool has(const std::vector<Entry>& entries, std::string_view path) {
  return std::any_of(entries.begin(), entries.end(), [&](const Entry& entry) { return entry.path == path; });
}

std::vector<std::string> listed_shards(const std::vector<Entry>& entries, const fs::path& index,
                                       std::string_view what) {
  const json::Value content = json::read_file(index);
  const json::Value* map = json::find(json::as_object(content, kShardIndex), "weight_map");
  if (map == nullptr) throw_input(str(what, ": its '", kShardIndex, "' has no weight_map"));
  Names shards;
  for (const auto& [tensor, file] : json::as_object(*map, kShardIndex))
    shards.insert(file.is_string() ? std::string(std::string_view(file.get_string())) : std::string());
  for (const std::string& shard : shards)
    if (!is_safetensors(shard) || !has(entries, shard))
      throw_input(
          str(what, ": its '", kShardIndex, "' names '", printable(shard), "', which the repository does not have"));
  return {shards.begin(), shards.end()};
}

// Without a list of shards. Of two sets that are the same weights (Mistral's consolidated files) the usual one.
std::vector<std::string> own_safetensors(const std::vector<Entry>& entries) {
  std::vector<std::string> usual, others;
  for (const Entry& entry : entries) {
    if (!is_safetensors(entry.path) || !folder_of(entry.path).empty() || is_hidden(entry.path)) continue;
    if (is_adapter(entry.path)) continue;
    (entry.path.starts_with("model") ? usual : others).push_back(entry.path);
  }
  return usual.empty() ? others : usual;
}

[[noreturn]] void refuse_without_weights(const std::vector<Entry>& entries, std::string_view what) {
  for (const Entry& entry : entries)
    if (ends_with_one(entry.path, kPickles) && !is_adapter(entry.path))
      throw_unsupported(str(what, ": has its weights only as pickle ('", entry.path,
                            "'), which runs code when it is opened and is never fetched; take a repository with "
                            "safetensors, or convert it where you trust it (save_pretrained of transformers)"));
  if (std::any_of(entries.begin(), entries.end(), [](const Entry& entry) { return is_adapter(entry.path); }))
    throw_unsupported(str(what, ": is an adapter, not a model; merge it into its base model first"));
  throw_unsupported(
      str(what, ": holds no weights that arkit reads (*.safetensors, or one file that is a model by itself)"));
}

std::vector<std::string> whole_model(const std::vector<Entry>& entries, std::string_view what) {
  std::vector<std::string> files;
  for (const Entry& entry : entries)
    if (io::is_whole_model_name(entry.path)) files.push_back(entry.path);
  if (files.empty()) refuse_without_weights(entries, what);
  if (files.size() > 1)
    throw_unsupported(str(what, ": holds ", files.size(), " models of one file each ('", files.front(), "', '",
                          files[1], "' ...) and no safetensors; download the one that you mean and give its path"));
  return files;
}

}  // namespace

std::vector<std::string> model_texts(const std::vector<Entry>& entries) {
  const Names apart = folders_with_weights(entries);
  std::vector<std::string> texts;
  for (const Entry& entry : entries) {
    const bool weights = io::is_weight_name(file_name(entry.path)) && !is_index(entry.path);
    if (weights || is_hidden(entry.path) || ends_with_one(entry.path, kPictures)) continue;
    if (entry.size > kLargestText || is_below(entry.path, apart)) continue;
    texts.push_back(entry.path);
  }
  return texts;
}

std::vector<std::string> model_weights(const std::vector<Entry>& entries, const fs::path& folder,
                                       std::string_view what) {
  std::vector<std::string> weights =
      has(entries, kShardIndex) ? listed_shards(entries, folder / kShardIndex, what) : own_safetensors(entries);
  if (weights.empty()) return whole_model(entries, what);
  const Names modules = pipeline_modules(folder);
  for (const Entry& entry : entries)
    if (is_below(entry.path, modules) && (is_safetensors(entry.path) || !io::is_weight_name(file_name(entry.path))))
      weights.push_back(entry.path);
  return weights;
}

}  // namespace arkit::hub
