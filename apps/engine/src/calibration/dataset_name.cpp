#include "calibration/dataset_name.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <vector>

#include <arkit/error.h>
#include <arkit/str.h>

#include "calibration/row_reader.h"
#include "hub/repo_names.h"

namespace arkit::calibration {
namespace {

namespace fs = std::filesystem;

// A name that is neither a file nor known, as a hub's id; else an error that says what it may mean.
std::string hub_id(const std::string& name) {
  std::vector<std::string> names{"self"};
  for (const KnownDataset& dataset : known_datasets())
    names.insert(names.end(), dataset.names.begin(), dataset.names.end());
  const bool like_file = is_data_file(name) || name.ends_with(".toml") || name.ends_with(".safetensors");
  const bool owned = name.find('/') != std::string::npos;
  if (!like_file && hub::is_repo_at_revision(name) && (owned || nearest(name, names).empty())) return name;
  throw_input(unknown_name("dataset", name, names,
                           "neither a file, nor a name of 'arkit list datasets', nor the id of one on the hub"));
}

}  // namespace

bool names_file(const std::string& name) {
  std::error_code error;
  const fs::file_status status = fs::status(name, error);
  return status.type() != fs::file_type::not_found && status.type() != fs::file_type::directory;
}

KnownDataset described(const DatasetSpec& spec) {
  const bool file = names_file(spec.name);
  KnownDataset dataset;
  std::error_code error;
  const bool there = file || fs::exists(spec.name, error);
  const KnownDataset* known = file ? nullptr : find_dataset(spec.name);
  if (file && lower(fs::path(spec.name).extension().string()) == ".toml") {
    dataset = read_dataset_file(spec.name);
  } else if (known != nullptr &&
             (!there || std::find(known->names.begin(), known->names.end(), spec.name) != known->names.end())) {
    dataset = *known;
  } else if (there) {  // before a part of a known name
    dataset.local = spec.name;
  } else {
    dataset.source = hub_id(spec.name);
  }
  for (std::string* id : {&dataset.source, &dataset.modelscope})
    if (!spec.revision.empty() && !id->empty()) *id = str(id->substr(0, id->find('@')), "@", spec.revision);
  if (!spec.splits.empty()) {
    dataset.splits = spec.splits;
    dataset.files.clear();
  }
  if (!spec.config.empty()) dataset.config = spec.config;
  if (!spec.fields.empty() || !spec.pattern.empty())
    dataset.text = {.fields = spec.fields, .joint = "\n", .pattern = spec.pattern, .user = {}, .assistant = {}};
  if (dataset.shuffle.empty()) dataset.shuffle = {dataset.local.empty() ? Shuffle::stream : Shuffle::list};
  if (dataset.local.empty()) return dataset;
  const bool folder = fs::is_directory(dataset.local, error);
  if (!spec.revision.empty() || (!folder && (!spec.config.empty() || !spec.splits.empty())))
    throw_usage(str("dataset '", printable(spec.name), "': ",
                    !spec.revision.empty() ? "revision"
                    : !spec.config.empty() ? "config"
                                           : "split",
                    " has no meaning for a local ", folder ? "folder" : "file", "; leave it out"));
  return dataset;
}

}  // namespace arkit::calibration
