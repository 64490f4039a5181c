#include "calibration/dataset_registry.h"

#include <algorithm>
#include <array>
#include <set>
#include <system_error>
#include <utility>

#include <arkit/error.h>
#include <arkit/input_file.h>
#include <arkit/str.h>

#include "hub/cached_hub.h"
#include "hub/repo_names.h"
#include "util/data_file.h"

namespace arkit::calibration {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kLargestFile = 64 * 1024;
constexpr std::string_view kFolder = "datasets", kDefaults = "defaults.toml";

std::vector<Shuffle> read_shuffle(const json::Object& object, const std::string& what) {
  static const std::vector<std::string> names{"whole", "list", "stream", "none"};
  std::vector<Shuffle> out;
  for (const std::string& name : text_list(object, "shuffle", what)) {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end())
      throw_input(str(what, ": shuffle is '", printable(name), "'; expected one of ", quoted_list(names)));
    out.push_back(static_cast<Shuffle>(found - names.begin()));
  }
  return out;
}

// filter = { language = "Python", license = ["mit"], score = { min = 3 } }
std::vector<RowFilter> read_filters(const json::Object& object, const std::string& what) {
  std::vector<RowFilter> out;
  const json::Value* table = json::find(object, "filter");
  if (table == nullptr) return out;
  for (const auto& [key, value] : json::as_object(*table, str(what, ": 'filter'"))) {
    RowFilter filter{.field = std::string(key), .values = {}, .min = {}, .max = {}};
    const std::string where = str(what, ": filter of '", printable(filter.field), "'");
    if (value.is_object()) {
      check_keys(value.get_object(), {"min", "max"}, where);
      filter.min = json::get_double(value.get_object(), "min", where);
      filter.max = json::get_double(value.get_object(), "max", where);
    } else {
      filter.values = value.is_array() ? value.get_array() : json::Array{value};
    }
    if (filter.values.empty() && !filter.min && !filter.max)
      throw_input(str(where, " says nothing; expected a value, a list of values, or { min = N, max = N }"));
    out.push_back(std::move(filter));
  }
  return out;
}

TextRule read_text_rule(const json::Object& object, const std::string& what) {
  TextRule rule{.fields = text_list(object, "field", what),
                .joint = json::get_string(object, "joint", what).value_or(""),
                .pattern = json::get_string(object, "template", what).value_or(""),
                .user = {},
                .assistant = {}};
  if (const json::Value* turns = json::find(object, "turns")) {
    const std::string where = str(what, ": 'turns'");
    const json::Object& names = json::as_object(*turns, where);
    check_keys(names, {"user", "assistant"}, where);
    rule.user = required_text(names, "user", where);
    rule.assistant = required_text(names, "assistant", where);
  }
  if ((rule.fields.empty() ? 0 : 1) + (rule.pattern.empty() ? 0 : 1) + (rule.user.empty() ? 0 : 1) > 1)
    throw_input(str(what, ": gives more than one of 'field', 'template' and 'turns'; keep one"));
  return rule;
}

// A path when there is one, or when it can be nothing else; else a hub id.
void read_source(KnownDataset& dataset, const std::string& source, const std::string& what) {
  const fs::path path = dataset.file.parent_path() / source;
  std::error_code error;
  const bool spelt_as_path = source.starts_with("./") || source.starts_with("../") || source.starts_with('/');
  if (spelt_as_path || fs::exists(path, error)) {
    dataset.local = path;
    if (!fs::exists(path, error))
      throw_input(str(what, ": source '", printable(source), "' is no file or folder ('", path.string(), "')"));
    return;
  }
  if (!hub::is_repo_at_revision(source))
    throw_input(
        str(what, ": source '", printable(source), "' is neither a file or folder there nor a hub id (org/name)"));
  dataset.source = source;
}

bool contains(const std::vector<std::string>& list, std::string_view name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

std::vector<KnownDataset> read_all() {
  std::vector<KnownDataset> all;
  for (const fs::path& folder : {user_data_folder(kFolder), shared_data_folder(kFolder)})
    for (const fs::path& file : toml_files(folder))
      if (file.filename() != kDefaults) all.push_back(read_dataset_file(file));
  return all;
}

bool in_cache(hub::Hub& cache, const KnownDataset& dataset) {
  if (!dataset.local.empty()) return true;
  try {
    return !cache.files(cache.snapshot(hub::repo_of(hub::RepoKind::dataset, dataset.source))).empty();
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

KnownDataset parse_dataset_file(std::string_view text, const fs::path& file) {
  const std::string what = str("'", printable(file.string()), "'");
  const json::Object object = parse_toml(text, what);
  check_keys(object,
             {"name", "also", "summary", "source", "modelscope", "config", "split", "files", "field", "joint",
              "template", "turns", "filter", "shuffle", "take", "concat"},
             what);
  KnownDataset dataset;
  dataset.file = file;
  dataset.names = {required_text(object, "name", what)};
  for (std::string& name : text_list(object, "also", what)) dataset.names.push_back(std::move(name));
  dataset.summary = json::get_string(object, "summary", what).value_or("");
  read_source(dataset, required_text(object, "source", what), what);
  dataset.modelscope = json::get_string(object, "modelscope", what).value_or("");
  dataset.config = json::get_string(object, "config", what).value_or("");
  dataset.splits = text_list(object, "split", what);
  dataset.files = text_list(object, "files", what);
  dataset.text = read_text_rule(object, what);
  dataset.filters = read_filters(object, what);
  dataset.shuffle = read_shuffle(object, what);
  dataset.take = json::get_int(object, "take", what).value_or(0);
  if (dataset.take < 0) throw_input(str(what, ": take is ", dataset.take, "; expected a number of documents"));
  dataset.concat = json::get_bool(object, "concat", what).value_or(false);
  return dataset;
}

KnownDataset read_dataset_file(const fs::path& file) {
  return parse_dataset_file(read_input_file(file, kLargestFile, "data set "), file);
}

std::span<const KnownDataset> known_datasets() {
  static const std::vector<KnownDataset> all = read_all();
  return all;
}

const KnownDataset* find_dataset(std::string_view name) {
  for (const KnownDataset& dataset : known_datasets())
    if (contains(dataset.names, name)) return &dataset;
  if (name.empty() || name.find('/') != std::string_view::npos) return nullptr;
  for (const KnownDataset& dataset : known_datasets())
    for (const std::string& known : dataset.names)
      if (known.find(name) != std::string::npos) return &dataset;
  return nullptr;
}

json::Array list_datasets() {
  Reporter silent;
  const auto cache = hub::open_cached_hub(silent);
  const auto row = [](std::string_view name, std::string_view source, std::string_view summary) {
    return json::Object{
        {"name", name}, {"source", source}, {"split", nullptr}, {"summary", summary}, {"available", true}};
  };
  json::Array list{row("self", "the model itself", "text the model writes by seeded sampling; needs no download")};
  for (const KnownDataset& dataset : known_datasets()) {
    json::Array others;
    for (size_t i = 1; i < dataset.names.size(); ++i) others.emplace_back(dataset.names[i]);
    std::string splits;
    for (const std::string& split : dataset.splits) splits += (splits.empty() ? "" : "+") + split;
    list.push_back(json::Object{{"name", dataset.names.front()},
                                {"also", std::move(others)},
                                {"source", dataset.local.empty() ? dataset.source : dataset.local.string()},
                                {"split", splits},
                                {"summary", dataset.summary},
                                {"available", in_cache(*cache, dataset)}});
  }
  list.push_back(row("OWNER/NAME", "the hub", "any other data set: its text field is looked for, or given by :field="));
  list.push_back(row("FILE.toml", "a description", "a data set of your own: docs/CALIBRATION.md"));
  list.push_back(row("FILE.jsonl, .json, .parquet, .txt, .safetensors", "a local file or folder",
                     "documents, running text, or token ids (input_ids)"));
  return list;
}

}  // namespace arkit::calibration
