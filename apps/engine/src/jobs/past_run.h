#pragma once
// arkit-run.json of a quantization, read back: what was asked for and what it was made from.

#include <filesystem>
#include <string>
#include <vector>

#include <arkit/engine/jobs.h>
#include <arkit/export.h>
#include <arkit/json.h>

namespace arkit {

inline constexpr const char* kRunFile = "arkit-run.json";

// A file as a record names it.
struct RecordedFile {
  std::string name;    // in the model's folder, or a path
  std::string option;  // that named it; empty = a file of the model
  std::string sha256;
};

struct RecordedPlugin {
  std::string id, version, sha256;
};

struct PastRun {
  std::filesystem::path directory;  // that holds the record
  std::string format;
  std::string arkit_version, libtorch_version;
  QuantizeOptions options;  // as they were given; what recipe and scheme decided is left to them again
  std::string hub_model;    // at its commit, as open_source takes it; empty = it came from no hub
  std::string model_path;   // absolute
  std::filesystem::path working_directory;
  std::vector<RecordedFile> weights, texts, inputs;
  RecordedFile family;                       // file that said what the model is, by its path; no name = a plugin did
  std::vector<std::filesystem::path> files;  // of the export, relative to its folder; without record and card
  std::vector<RecordedPlugin> plugins;
  std::string compute_dtype;  // of block forwards; empty = there were none
  std::string cpu;
  int64_t threads = 0;
};

// Throws ErrorCode::input for a file that is no such record, ErrorCode::unsupported for one of a conversion.
[[nodiscard]] ARKIT_INTERNAL PastRun read_past_run(const std::filesystem::path& directory);

// The exports of one run: the folder itself, or those in it. Throws as read_past_run() and where there is none.
[[nodiscard]] ARKIT_INTERNAL std::vector<PastRun> past_runs(const std::filesystem::path& directory);

// The record without what differs from run to run: times, memory, the machine, and where things lie.
[[nodiscard]] ARKIT_INTERNAL json::Object without_circumstances(json::Object record);

}  // namespace arkit
