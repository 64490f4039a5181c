// `arkit reproduce`: from the record of a run to the same files, or to what differs.
#include <algorithm>
#include <filesystem>
#include <memory>
#include <set>

#include <ATen/Parallel.h>
#include <torch/headeronly/version.h>

#include <arkit/engine/option_table.h>
#include <arkit/engine/reported_jobs.h>
#include <arkit/engine/reproduce.h>
#include <arkit/error.h>
#include <arkit/inference_backend.h>
#include <arkit/input_file.h>
#include <arkit/model_source.h>
#include <arkit/str.h>

#include "jobs/past_run.h"
#include "jobs/planned_model.h"
#include "jobs/run_inputs.h"
#include "util/sha256.h"

namespace arkit {
namespace fs = std::filesystem;

namespace {

using Lines = std::vector<std::string>;

constexpr const char* kCardFile = "README.md";
constexpr int64_t kMostCardBytes = int64_t{16} << 20;

// The folder in which a run was started, whose relative paths then mean what they meant.
class WorkingDirectory {
 public:
  explicit WorkingDirectory(const fs::path& folder) : before_(fs::current_path()) {
    std::error_code failed;
    if (fs::is_directory(folder, failed)) fs::current_path(folder);
  }
  ~WorkingDirectory() {
    std::error_code ignored;
    fs::current_path(before_, ignored);
  }
  WorkingDirectory(const WorkingDirectory&) = delete;
  WorkingDirectory& operator=(const WorkingDirectory&) = delete;

 private:
  fs::path before_;
};

std::string shown(const fs::path& path) {
  return str("'", printable(path.string(), 400), "'");
}

void compare_versions(const PastRun& past, Lines& differences) {
  const auto compare = [&](std::string_view what, const std::string& then, const std::string& now) {
    if (then != now) differences.push_back(str(what, " was ", printable(then), ", this is ", now));
  };
  compare("arkit", past.arkit_version, ARKIT_VERSION);
  compare("LibTorch", past.libtorch_version,
          str(TORCH_VERSION_MAJOR, ".", TORCH_VERSION_MINOR, ".", TORCH_VERSION_PATCH));
}

void compare_plugins(const PastRun& past, const Registry& registry, Lines& differences) {
  const json::Array loaded = hash_plugins(registry);
  for (const RecordedPlugin& then : past.plugins) {
    const auto now = std::find_if(loaded.begin(), loaded.end(), [&](const json::Value& plugin) {
      return plugin.at("id").as_string() == std::string_view(then.id);
    });
    const std::string name = str("plugin '", printable(then.id), "'");
    if (now == loaded.end()) {
      differences.push_back(str(name, " is not loaded; name it with --plugin"));
      continue;
    }
    const std::string version(now->at("version").as_string());
    if (version != then.version)
      differences.push_back(str(name, " was ", printable(then.version), ", this is ", version));
    else if (now->at("sha256").as_string() != std::string_view(then.sha256))
      differences.push_back(str(name, " ", version, " is another build"));
  }
}

void compare_file(const fs::path& path, const std::string& sha256, const std::string& what, Lines& differences) {
  std::error_code failed;
  if (!fs::is_regular_file(path, failed))
    differences.push_back(str(what, " is missing"));
  else if (sha256_file(path) != sha256)
    differences.push_back(str(what, " has other contents"));
}

void compare_model(const PastRun& past, const fs::path& model, Lines& differences) {
  std::error_code failed;
  const bool folder = fs::is_directory(model, failed);
  std::set<std::string> seen;
  for (const std::vector<RecordedFile>* files : {&past.weights, &past.texts})
    for (const RecordedFile& file : *files) {
      // A name is one in the folder: a record must not make anything else be read.
      const fs::path name(file.name);
      const bool inside = name.is_relative() && std::find(name.begin(), name.end(), "..") == name.end();
      const fs::path path = folder && inside ? model / name : model;
      if (seen.insert(path.string()).second) compare_file(path, file.sha256, str("model: ", shown(path)), differences);
    }
}

void compare_inputs(const PastRun& past, Lines& differences) {
  for (const RecordedFile& file : past.inputs)
    compare_file(file.name, file.sha256, str("--", printable(file.option), ": ", shown(file.name)), differences);
}

// The file that says what the model is, wherever it lies now.
void compare_family(const PastRun& past, const json::Object& config, const Registry& registry, Lines& differences) {
  const json::Value now = hash_family(config, registry);
  const std::string then = past.family.name.empty() ? std::string() : shown(past.family.name);
  const std::string other = now.is_null() ? std::string() : shown(fs::path(now.at("path").as_string().c_str()));
  if (now.is_null() != then.empty())
    differences.push_back(then.empty() ? str("the model's family is the one of ", other, " now, and was a plugin's")
                                       : str("the model's family was the one of ", then,
                                             ", which is not read now; name it with --family"));
  else if (!then.empty() && now.at("sha256").as_string() != std::string_view(past.family.sha256))
    differences.push_back(str("family file ", other, " has other contents than ", then, " had"));
}

void compare_compute(const PastRun& past, Lines& differences) {
  if (past.compute_dtype.empty() || past.options.tuning.amp_dtype != "auto") return;
  const std::string now = choose_dtype(past.options.tuning, true) == at::kFloat ? "float32" : "bfloat16";
  if (now != past.compute_dtype)
    differences.push_back(str("blocks were computed in ", printable(past.compute_dtype), ", and this machine takes ",
                              now, " by itself (--amp_dtype auto)"));
}

// What may change bits without being anybody's change.
void warn_of_machine(const PastRun& past, Reporter& reporter) {
  if (past.compute_dtype.empty()) return;
  const int threads = at::get_num_threads();
  if (past.threads != threads && !past.options.tuning.enable_deterministic_algorithms)
    reporter.warn(str("the run had ", past.threads, " threads and this one has ", threads,
                      ": sums may be rounded otherwise; OMP_NUM_THREADS=", past.threads, " has as many"));
  if (past.cpu != host_info().cpu_name)
    reporter.warn(str("the run was made on '", printable(past.cpu), "' and this is '", host_info().cpu_name,
                      "': sums may be rounded otherwise"));
  if (past.options.auto_scheme.refine_seconds > 0.0)
    reporter.warn("--refine_seconds stops by the clock: the mix may be another one");
}

// The model that is asked for by name: the user's, else the hub's at its commit, for a branch may have moved on. Empty =
// the one at the record's path.
const std::string& named_model(const PastRun& past, const ReproduceOptions& options) {
  return options.model.empty() ? past.hub_model : options.model;
}

// Where the run's places are its own, and nothing is written but its output.
QuantizeOptions again(const PastRun& past, const fs::path& output_dir, const ReproduceOptions& options) {
  QuantizeOptions wanted = past.options;
  const QuantizeOptions usual;
  for (const OptionOf<QuantizeOptions>& one : option_table<QuantizeOptions>())
    if (one.row.place) one.set(wanted, one.get(usual), one.row.name);
  wanted.output_dir = output_dir;
  wanted.force = options.force;
  if (const std::string& named = named_model(past, options); !named.empty()) wanted.model = named;
  return wanted;
}

std::set<fs::path> files_below(const fs::path& folder) {
  std::set<fs::path> files;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) files.insert(fs::relative(entry.path(), folder));
  return files;
}

// The card without the lines that name the model, whose folder may be called otherwise now.
std::string without_model_name(const fs::path& card) {
  std::string text;
  for (const std::string& line : split(read_input_file(card, kMostCardBytes, "model card"), '\n'))
    if (!line.starts_with("base_model: ") && !line.starts_with("# ")) text += line + "\n";
  return text;
}

json::Object comparable_record(const fs::path& file) {
  return without_circumstances(json::as_object(json::read_file(file), shown(file)));
}

// " in 'plugins', 'plan'"; empty for equal ones.
std::string changed_members(const json::Object& then, const json::Object& now) {
  std::set<std::string> keys;
  for (const json::Object* record : {&then, &now})
    for (const auto& [key, value] : *record) keys.emplace(key);
  std::string names;
  for (const std::string& key : keys) {
    const json::Value *a = then.if_contains(key), *b = now.if_contains(key);
    if (a == nullptr || b == nullptr || *a != *b) names += str(names.empty() ? " in '" : ", '", printable(key), "'");
  }
  return names;
}

// Empty for equal files; " is not the same", and where that can be said in which part.
std::string compare(const fs::path& then, const fs::path& now, bool renamed) {
  constexpr const char* kOther = " is not the same";
  if (now.filename() == kRunFile) {
    const std::string members = changed_members(comparable_record(then), comparable_record(now));
    return members.empty() ? members : kOther + members;
  }
  if (renamed && now.filename() == kCardFile) return without_model_name(then) == without_model_name(now) ? "" : kOther;
  const bool same = fs::file_size(then) == fs::file_size(now) && sha256_file(then) == sha256_file(now);
  return same ? "" : kOther;
}

// Number of files compared; sentences about those that are not the same go to `unequal`.
int64_t compare_exports(const PastRun& past, const fs::path& now, bool renamed, Lines& unequal) {
  const fs::path& then = past.directory;
  std::set<fs::path> names = files_below(now);  // with record and card; what somebody else put beside is not ours
  names.insert(past.files.begin(), past.files.end());
  for (const fs::path& name : names) {
    throw_if_interrupted();
    if (!fs::exists(then / name))
      unequal.push_back(str(shown(now / name), " was not there"));
    else if (!fs::exists(now / name))
      unequal.push_back(str(shown(then / name), " did not come again"));
    else if (const std::string other = compare(then / name, now / name, renamed); !other.empty())
      unequal.push_back(str(shown(now / name), other));
  }
  return static_cast<int64_t>(names.size());
}

json::Array texts(const Lines& lines) {
  json::Array array;
  for (const std::string& line : lines) array.emplace_back(line);
  return array;
}

// Where a run put the export of a format.
fs::path output_of(const json::Object& result, const std::string& format) {
  for (const json::Value& output : result.at("outputs").as_array())
    if (output.at("format").as_string() == std::string_view(format)) return output.at("output_dir").as_string().c_str();
  throw_input(str("the record is one of format '", printable(format), "', which its options do not ask for"));
}

fs::path output_for(const ReproduceOptions& options) {
  if (!options.output_dir.empty()) return fs::absolute(options.output_dir).lexically_normal();
  const fs::path folder = fs::absolute(options.directory / "").lexically_normal().parent_path();
  return fs::absolute(folder.filename().string() + "-again");
}

// The model is opened once for both comparisons.
void compare_source(const PastRun& past, const ReproduceOptions& options, const Registry& registry, Reporter& reporter,
                    Lines& differences) {
  const std::string& named = named_model(past, options);
  std::unique_ptr<ModelSource> source;
  if (!named.empty()) source = open_source(named, registry, reporter);
  const fs::path model = source ? source->path() : fs::path(past.model_path);
  compare_model(past, model, differences);
  std::error_code failed;
  if (!fs::exists(model, failed)) return;  // which is said already
  if (!source) source = open_source(model.string(), registry, reporter);
  compare_family(past, source->config(), registry, differences);
}

}  // namespace

json::Object reproduce(const ReproduceOptions& given, const Registry& registry, Reporter& reporter) {
  std::vector<PastRun> runs = past_runs(given.directory);
  for (PastRun& run : runs) run.directory = fs::absolute(run.directory).lexically_normal();
  const PastRun& past = runs.front();
  ReproduceOptions options = given;
  std::error_code failed;
  if (fs::exists(options.model, failed)) options.model = fs::absolute(options.model).lexically_normal().string();
  const fs::path output_dir = output_for(given);
  const WorkingDirectory there(past.working_directory);

  reporter.step("comparing versions, plugins, model and data with the record");
  Lines differences;
  compare_versions(past, differences);
  compare_plugins(past, registry, differences);
  compare_source(past, options, registry, reporter, differences);
  compare_inputs(past, differences);
  compare_compute(past, differences);
  json::Object report{{"directory", given.directory.string()}, {"differences", texts(differences)}, {"ran", false}};
  if (options.dry_run || (!differences.empty() && !options.allow_changed)) return report;

  warn_of_machine(past, reporter);
  const json::Object result = quantize(again(past, output_dir, options), registry, reporter);
  reporter.step("comparing files");
  Lines unequal;
  int64_t files = 0;
  const bool renamed =
      !options.model.empty() && fs::path(options.model).filename() != fs::path(past.model_path).filename();
  for (const PastRun& run : runs) files += compare_exports(run, output_of(result, run.format), renamed, unequal);
  report["ran"] = true;
  report["output_dir"] = output_dir.string();
  report["files"] = files;
  report["equal"] = unequal.empty();
  report["unequal"] = texts(unequal);
  return report;
}

}  // namespace arkit
