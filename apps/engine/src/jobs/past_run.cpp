#include "jobs/past_run.h"

#include <algorithm>
#include <map>
#include <set>

#include <arkit/error.h>
#include <arkit/str.h>

#include "hub/repo_names.h"
#include "jobs/hub_origin.h"
#include "options/option_json.h"

namespace arkit {
namespace fs = std::filesystem;

namespace {

constexpr int64_t kSchemaVersion = 1;

// A record with its name for errors.
class Reader {
 public:
  Reader(const json::Object& record, std::string where) : record_(record), where_(std::move(where)) {}

  [[nodiscard]] const std::string& where() const { return where_; }

  [[nodiscard]] const json::Object& object(const json::Object& in, std::string_view key) const {
    static const json::Object kNone;
    const json::Value* found = json::find(in, key);
    return found == nullptr ? kNone : json::as_object(*found, str(where_, ": ", key));
  }
  [[nodiscard]] std::string text(const json::Object& in, std::string_view key) const {
    return json::get_string(in, key, where_).value_or("");
  }
  [[nodiscard]] std::string needed(const json::Object& in, std::string_view key) const {
    std::string found = text(in, key);
    if (found.empty()) refuse(str("it does not say '", key, "'"));
    return found;
  }
  [[nodiscard]] std::vector<json::Object> list(const json::Object& in, std::string_view key) const {
    std::vector<json::Object> all;
    const json::Value* found = json::find(in, key);
    if (found == nullptr) refuse(str("it does not list '", key, "'"));
    for (const json::Value& entry : json::as_array(*found, str(where_, ": ", key)))
      all.push_back(json::as_object(entry, str(where_, ": ", key)));
    return all;
  }
  [[nodiscard]] std::vector<RecordedFile> files(const json::Object& in, std::string_view key,
                                                std::string_view name) const {
    std::vector<RecordedFile> all;
    for (const json::Object& entry : list(in, key))
      all.push_back({needed(entry, name), text(entry, "option"), needed(entry, "sha256")});
    return all;
  }
  [[noreturn]] void refuse(const std::string& why) const {
    throw_input(str(where_, ": ", why, "; expected the record that 'arkit quantize' leaves beside an export"));
  }

  [[nodiscard]] QuantizeOptions options() const;
  [[nodiscard]] std::vector<fs::path> export_files() const;

 private:
  const json::Object& record_;
  std::string where_;
};

const OptionOf<QuantizeOptions>* find_row(std::string_view name) {
  for (const OptionOf<QuantizeOptions>& one : option_table<QuantizeOptions>())
    if (one.row.name == name) return &one;
  return nullptr;
}

// As they were given: what recipe and scheme decided follows from them again.
QuantizeOptions Reader::options() const {
  const json::Value* given = json::find(record_, "given");
  if (given == nullptr) refuse("it does not say which options were given");
  const json::Object& wanted = json::as_object(*given, str(where_, ": given"));
  for (const auto& [name, value] : wanted)
    if (find_row(name) == nullptr)
      refuse(str("option '", printable(std::string_view(name)), "' is unknown to this version"));
  return read_described<QuantizeOptions>(wanted, where_);
}

std::vector<fs::path> Reader::export_files() const {
  std::vector<fs::path> all;
  const json::Value* files = json::find(record_, "files");
  if (files == nullptr) refuse("it does not list 'files'");
  for (const json::Value& entry : json::as_array(*files, str(where_, ": files"))) {
    const fs::path name = entry.is_string() ? fs::path(entry.get_string().c_str()) : fs::path();
    if (name.empty() || name.is_absolute() || std::find(name.begin(), name.end(), "..") != name.end())
      refuse("a file of the export is not in its folder");
    all.push_back(name);
  }
  return all;
}

void drop_seconds(json::Value& value) {
  if (auto* array = value.if_array())
    for (json::Value& entry : *array) drop_seconds(entry);
  if (auto* object = value.if_object()) {
    object->stable_erase("seconds");
    for (auto& [key, entry] : *object) drop_seconds(entry);
  }
}

// Data sets of hubs with what they were read at; a branch may have moved on.
std::map<std::string, std::string> data_commits(const json::Object& record, const std::string& where) {
  std::map<std::string, std::string> commits;
  const json::Value* calibration = json::find(record, "calibration");
  if (calibration == nullptr || !calibration->is_object()) return commits;
  const json::Value* entries = json::find(calibration->get_object(), "entries");
  if (entries == nullptr) return commits;
  const std::string what = str(where, ": calibration.entries");
  for (const json::Value& entry : json::as_array(*entries, what)) {
    const json::Object& fields = json::as_object(entry, what);
    const std::string commit = json::get_string(fields, "commit", what).value_or("");
    if (hub::is_commit(commit)) commits[json::get_string(fields, "hub_id", what).value_or("")] = commit;
  }
  return commits;
}

}  // namespace

PastRun read_past_run(const fs::path& directory) {
  const fs::path file = directory / kRunFile;
  const json::Value content = json::read_file(file);
  const std::string where = str("'", printable(file.string(), 400), "'");
  const json::Object& record = json::as_object(content, where);
  const Reader reader(record, where);
  const auto schema = json::get_int(record, "schema_version", where);
  if (!schema) reader.refuse("it has no schema_version");
  if (*schema != kSchemaVersion)
    reader.refuse(str("its schema_version is ", *schema, ", and this version reads ", kSchemaVersion));
  if (const json::Value* from = json::find(record, "converted_from"))
    throw_unsupported(str(where, ": the export was converted, not quantized; reproduce the one it was made from, '",
                          printable(reader.text(json::as_object(*from, where), "path"), 400), "'"));
  PastRun run;
  run.directory = directory;
  run.format = reader.needed(record, "format");
  run.arkit_version = reader.needed(record, "arkit_version");
  run.libtorch_version = reader.needed(record, "libtorch_version");
  run.options = reader.options();
  run.options.command_line = reader.text(record, "command");
  run.working_directory = reader.text(record, "working_directory");
  const json::Object& source = reader.object(record, "source");
  run.model_path = reader.needed(source, "path");
  run.hub_model = model_at_commit(reader.object(source, "hub"), where);
  run.options.data_commits = data_commits(record, where);
  run.weights = reader.files(source, "files", "name");
  run.texts = reader.files(source, "texts", "name");
  run.inputs = reader.files(record, "inputs", "path");
  if (record.contains("family")) {
    const json::Object& family = reader.object(record, "family");
    run.family = {reader.needed(family, "path"), "family", reader.needed(family, "sha256")};
  }
  run.files = reader.export_files();
  for (const json::Object& plugin : reader.list(record, "plugins"))
    run.plugins.push_back(
        {reader.needed(plugin, "id"), reader.text(plugin, "version"), reader.needed(plugin, "sha256")});
  run.compute_dtype = reader.text(reader.object(record, "compute"), "dtype");
  const json::Object& host = reader.object(record, "host");
  run.cpu = reader.text(host, "cpu");
  run.threads = json::get_int(host, "threads", where).value_or(0);
  return run;
}

std::vector<PastRun> past_runs(const fs::path& directory) {
  std::error_code failed;
  if (!fs::is_directory(directory, failed))
    throw_input(str("'", printable(directory.string(), 400), "': is not a folder; give the folder of an export"));
  if (fs::exists(directory / kRunFile, failed)) return {read_past_run(directory)};
  std::set<fs::path> folders;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory))
    if (entry.is_directory(failed) && fs::exists(entry.path() / kRunFile, failed)) folders.insert(entry.path());
  if (folders.empty())
    throw_input(str("'", printable(directory.string(), 400), "': holds no ", kRunFile,
                    "; give the folder of an export that 'arkit quantize' made"));
  std::vector<PastRun> runs;
  for (const fs::path& folder : folders) runs.push_back(read_past_run(folder));
  const std::string& command = runs.front().options.command_line;
  for (const PastRun& run : runs)
    if (run.options.command_line != command)
      throw_input(str("'", printable(directory.string(), 400), "': holds exports of several runs; give one of them"));
  return runs;
}

json::Object without_circumstances(json::Object record) {
  for (const char* key : {"command", "working_directory", "host", "peak_rss_bytes", "compute"})
    record.stable_erase(key);
  for (const char* key : {"source", "family"})
    if (auto* member = record.if_contains(key); member != nullptr && member->is_object())
      for (const char* circumstance : {"path", "hub"}) member->get_object().stable_erase(circumstance);
  for (const char* key : {"options", "given"}) {
    auto* options = record[key].if_object();
    if (options == nullptr) continue;
    options->stable_erase("model");
    for (const OptionOf<QuantizeOptions>& one : option_table<QuantizeOptions>())
      if (one.row.place) options->stable_erase(one.row.name);
  }
  if (auto* mix = record.if_contains("autoscheme"); mix != nullptr && mix->is_object())
    mix->get_object().stable_erase("scores_cached");
  json::Value all = std::move(record);
  drop_seconds(all);
  return all.as_object();
}

}  // namespace arkit
