#include <algorithm>
#include <vector>

#include <arkit/engine/family_job.h>
#include <arkit/error.h>
#include <arkit/json.h>
#include <arkit/model_source.h>
#include <arkit/sdk/family_draft.h>
#include <arkit/str.h>

#include "source/canonical_source.h"

namespace arkit {
namespace fs = std::filesystem;

namespace {

bool has_tensors(const fs::path& folder) {
  std::error_code failed;
  for (fs::directory_iterator it(folder, failed), end; !failed && it != end; it.increment(failed))
    if (it->path().extension() == ".safetensors") return true;
  return false;
}

}  // namespace

DraftedFamily draft_family_file(const std::string& name, Reporter& reporter) {
  const fs::path model = locate_config(name, reporter);
  std::error_code failed;
  const bool is_folder = fs::is_directory(model, failed);
  const fs::path config = is_folder ? model / "config.json" : model;
  if (!fs::exists(config, failed))
    throw_input(str("'", config.string(),
                    "': no such file; give the config.json of a model, its folder, or the id of a ", "hub's model"));
  const json::Value parsed = json::read_file(config);
  const json::Object& object = json::as_object(parsed, str("'", config.string(), "'"));
  // A configuration alone is a question about nothing else, even where weights lie beside it.
  const bool look = is_folder && has_tensors(model);
  const std::unique_ptr<WeightSource> weights = look ? open_safetensors(model) : nullptr;
  const std::span<const TensorInfo> tensors = look ? weights->tensors() : std::span<const TensorInfo>();
  sdk::FamilyDraft draft = sdk::draft_family(object, tensors);
  return {std::move(draft.toml), std::move(draft.open), look};
}

}  // namespace arkit
