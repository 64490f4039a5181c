#include "jobs/source_labels.h"

#include <set>
#include <system_error>
#include <utility>
#include <vector>

#include <unistd.h>

#include <arkit/error.h>
#include <arkit/str.h>

#include "io/companion_files.h"

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

// Weight files beside those the model is read from.
std::vector<std::string> unread(std::vector<std::string> files, const WeightSource& weights) {
  std::set<std::string_view> read = {"model.safetensors.index.json"};
  for (const TensorInfo& tensor : weights.tensors()) read.insert(tensor.file);
  // Shards of blocks that were cut off are not read; one that no index lists is refused where the model is opened.
  const auto is_shard = [](const std::string& name) {
    return name.starts_with("model-") && name.ends_with(".safetensors");
  };
  std::erase_if(files, [&](const std::string& name) { return read.contains(name) || is_shard(name); });
  return files;
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

void say_what_stays(const ModelSource& source, Reporter& reporter) {
  std::error_code error;
  if (!fs::is_directory(source.path(), error)) return;
  io::LeftOut out = io::left_out_files(source.path());
  std::vector<std::string> copies = std::move(out.formats);
  for (std::string& file : unread(std::move(out.files), source.weights())) copies.push_back(std::move(file));
  if (!copies.empty())
    reporter.info(str("not copied into the export, as it holds weights in other formats or a second time: ",
                      quoted_list(copies)));
  if (!out.models.empty())
    reporter.warn(
        str("not copied into the export, as it holds weights of its own and modules.json does not name it as a part "
            "of the model: ",
            quoted_list(out.models), "; copy it yourself if the model needs it"));
  if (!out.adapter.empty())
    reporter.warn(str("an adapter lies beside the model and is not part of the export: ", quoted_list(out.adapter),
                      "; if the model is meant with it, merge it first (in Python, with peft: merge_and_unload(), then "
                      "save_pretrained)"));
}

}  // namespace arkit
