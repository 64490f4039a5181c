#include "jobs/source_labels.h"

#include <system_error>

#include <unistd.h>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit {
namespace fs = std::filesystem;

namespace {

constexpr std::string_view kGenerationConfig = "generation_config.json";

void warn_about_label(const json::Object& config, std::string_view key, Reporter& reporter) {
  const json::Value* value = json::find(config, key);
  if (value != nullptr && !value->is_string())
    reporter.warn(str("config.json: '", key, "' is no string; the model card goes without it"));
}

// The one companion that formats rewrite.
void judge_generation_config(const CompanionFile& file) {
  const std::string what = str("'", file.name, "'");
  const json::Value value = file.path.empty() ? json::parse(file.content, what, true) : json::read_file(file.path);
  (void)json::as_object(value, what);
}

}  // namespace

std::string text_label(const json::Object& config, std::string_view key) {
  const json::Value* value = json::find(config, key);
  return value == nullptr || !value->is_string() ? std::string() : std::string(value->get_string());
}

bool is_regular(const fs::path& path) noexcept {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

void judge_source_texts(const ModelSource& source, Reporter& reporter) {
  for (const char* key : {"license", "_name_or_path"}) warn_about_label(source.config(), key, reporter);
  for (const CompanionFile& file : source.companions()) {
    if (!file.path.empty() && (!is_regular(file.path) || ::access(file.path.c_str(), R_OK) != 0))
      throw_input(str("'", file.path.string(), "': cannot be read, and it is part of the export; mend or remove it"));
    if (file.name == kGenerationConfig) judge_generation_config(file);
  }
}

}  // namespace arkit
