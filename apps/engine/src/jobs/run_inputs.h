#pragma once
// What a run was asked for and made of, beside weights, for `arkit reproduce`: options as they were given, hashes of files.

#include <future>
#include <string>

#include <arkit/engine/jobs.h>
#include <arkit/export.h>
#include <arkit/json.h>
#include <arkit/model_source.h>
#include <arkit/registry.h>

namespace arkit {

class RunInputs {
 public:
  // Before anything is read. Texts and plugins are hashed in a thread beside the work.
  ARKIT_INTERNAL RunInputs(const QuantizeOptions& options, const ModelSource& source, const Registry& registry);

  // The files of the usual data set, which no option names, from a report of samples.
  ARKIT_INTERNAL void add_samples(const json::Object& report);

  // Into arkit-run.json. Waits for the thread; throws ErrorCode::input for a file that cannot be read any more.
  ARKIT_INTERNAL void add_to(json::Object& record) const;

 private:
  struct Hashed {
    json::Array texts;    // config.json and the model's other texts: [{"name", "bytes", "sha256"}, ...]
    json::Array plugins;  // hash_plugins()
  };

  json::Object given_;  // the options that differ from what they are by themselves, with the values asked for
  json::Value
      family_;  // the file that says what the model is: {"name", "path", "bytes", "sha256"}; null = a plugin does
  json::Array files_;  // that options name: [{"option", "path", "bytes", "sha256"}, ...]
  std::string working_directory_;
  std::shared_future<Hashed> hashed_;
};

// The file that says what a model with this config.json is, {"name", "path", "bytes", "sha256"}; null = a plugin says it.
[[nodiscard]] ARKIT_INTERNAL json::Value hash_family(const json::Object& config, const Registry& registry);

// Loaded plugins: [{"id", "version", "sha256"}, ...].
[[nodiscard]] ARKIT_INTERNAL json::Array hash_plugins(const Registry& registry);

}  // namespace arkit
