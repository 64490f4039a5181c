#include "jobs/low_disk.h"

#include <algorithm>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include <arkit/engine/reported_jobs.h>
#include <arkit/error.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/str.h>

#include "hub/model_place.h"

namespace arkit {
namespace fs = std::filesystem;
namespace {

// Where the texts lie is where the model is, to people and to records.
class StreamedSource final : public sdk::ForwardingSource {
 public:
  StreamedSource(std::unique_ptr<ModelSource> inner, fs::path path)
      : ForwardingSource(std::move(inner)), path_(std::move(path)) {}
  [[nodiscard]] const fs::path& path() const override { return path_; }

 private:
  fs::path path_;
};

// As OutputFolder sees it.
fs::path resolved(const fs::path& output) {
  std::error_code error;
  fs::path folder = fs::weakly_canonical(fs::absolute(output), error);
  if (error) folder = fs::absolute(output).lexically_normal();
  return folder.has_filename() ? folder : folder.parent_path();  // "out/"
}

}  // namespace

void check_low_disk(const QuantizeOptions& options) {
  if (options.low_disk && !options.auto_scheme.options.empty())
    throw_usage("low_disk goes through a model once, and AutoScheme (options) scores all of it before; leave one out");
}

void refuse_low_disk() {
  throw_usage(
      "low_disk goes through a model once, file by file, without tuning, search or samples; pass --model_free, or "
      "--iters 0 --disable_opt_rtn, with a scheme and a format that allow it, or leave low_disk out");
}

void clear_shards(const fs::path& output, Reporter& reporter) {
  const fs::path folder = output::shards_folder(resolved(output));
  if (output::clear_part_folder(folder, output))
    reporter.warn(str("'", folder.string(), "': an earlier run was killed; the shards it left there are removed"));
}

LowDisk::LowDisk(hub::ModelTexts model, const fs::path& output, Reporter& reporter)
    : parents_(resolved(output).parent_path()) {
  clear_shards(output, reporter);
  part_ = std::make_unique<output::PartFolder>(output::shards_folder(resolved(output)), output);
  model_ = std::make_unique<hub::StreamedModel>(std::move(model), part_->filled(), reporter);
}

std::unique_ptr<ModelSource> LowDisk::open(const Registry& registry, Reporter& reporter) const {
  return std::make_unique<StreamedSource>(open_source(part_->filled().string(), registry, reporter), model_->texts());
}

std::unique_ptr<LowDisk> open_low_disk(const QuantizeOptions& options, std::string_view scheme, Reporter& reporter) {
  if (!options.low_disk) return nullptr;
  const auto saves_nothing = [&](std::string_view why) {
    reporter.info(str("low_disk: '", printable(options.model), "' ", why, "; nothing is downloaded or deleted"));
    return nullptr;
  };
  std::error_code error;
  if (fs::exists(options.model, error)) return saves_nothing("lies on this disk");
  const auto name = hub::parse_model_name(options.model);
  if (!name || options.model.find_first_of("/:") == std::string::npos) return nullptr;  // locate_model() refuses it
  std::optional<hub::ModelTexts> model = hub::fetch_texts(*name, reporter);
  if (!model) return saves_nothing("is in the cache as a whole");
  fs::path output = options.output_dir;
  if (output.empty()) output = str(fs::path(name->repo.id).filename().string(), "-", scheme);
  return std::make_unique<LowDisk>(*std::move(model), output, reporter);
}

json::Array with_shards(json::Array files, const LowDisk* low_disk) {
  if (low_disk == nullptr) return files;
  for (const hub::StreamedModel::File& file : low_disk->model().checked())
    files.push_back(json::Object{{"name", file.name}, {"bytes", file.bytes}, {"sha256", file.sha256}});
  std::sort(files.begin(), files.end(), [](const json::Value& a, const json::Value& b) {
    return a.as_object().at("name").as_string() < b.as_object().at("name").as_string();
  });
  return files;
}

}  // namespace arkit
