#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <arkit/engine/reported_jobs.h>
#include <arkit/error.h>
#include <arkit/family_files.h>
#include <arkit/file_start.h>
#include <arkit/input_file.h>
#include <arkit/model_adapter.h>
#include <arkit/model_source.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/sdk/layout.h>
#include <arkit/str.h>

#include "hub/model_place.h"
#include "output/swap_journal.h"
#include "source/canonical_source.h"
#include "source/outlined_source.h"

namespace arkit {
namespace fs = std::filesystem;

namespace {

// The hub's model that `model` means; nothing where it is a path that exists.
std::optional<hub::ModelName> name_on_hub(const std::string& model) {
  if (model.empty()) throw_usage("no model given; pass a folder, a file or a hub id such as 'org/name'");
  std::error_code failed;
  if (fs::exists(model, failed)) return std::nullopt;
  auto name = hub::parse_model_name(model);
  if (!name)
    throw_input(str("'", printable(model), "': no such file or folder, and no id of a hub such as 'org/name'"));
  // A slip in the name of a folder is not asked of the hub.
  if (model.find_first_of("/:") == std::string::npos)
    throw_input(str("'", printable(model),
                    "': no such file or folder; a model of the hub without an owner is 'hf:", model, "'"));
  return name;
}

// Of a name that the hub does not know: it may have been meant as a path.
template <typename Ask>
auto ask_hub(const std::string& model, const Ask& ask) {
  try {
    return ask();
  } catch (const hub::UnknownRepo& error) {
    throw Error(error.code(), str(error.what(), "; no path here is called '", model, "'"));
  }
}

}  // namespace

fs::path locate_model(const std::string& model, Reporter& reporter) {
  const auto name = name_on_hub(model);
  if (!name) return fs::absolute(model).lexically_normal();
  return ask_hub(model, [&] { return hub::fetch_model(*name, reporter).path; });
}

std::unique_ptr<hub::ModelOutline> outline_of(const std::string& model, Reporter& reporter) {
  const auto name = name_on_hub(model);
  if (!name) return nullptr;
  return ask_hub(model, [&] { return hub::outline_model(*name, reporter); });
}

fs::path locate_config(const std::string& model, Reporter& reporter) {
  const auto name = name_on_hub(model);
  if (!name) return model;
  return ask_hub(model, [&] { return hub::fetch_config(*name, reporter); });
}

namespace {

// Of a .gguf file that Git did not fetch.
void refuse_if_pointer(const fs::path& file) {
  std::string start(64, '\0');
  std::ifstream in(file, std::ios::binary);
  in.read(start.data(), static_cast<std::streamsize>(start.size()));
  start.resize(static_cast<size_t>(in.gcount()));
  refuse_lfs_pointer(start, str("'", file.string(), "'"));
}

// Readers of packed formats may look at values when they open; what they make of holes means nothing.
std::unique_ptr<ModelSource> open_outlined(const ModelReader& reader, const fs::path& path) {
  std::unique_ptr<ModelSource> source;
  try {
    source = reader.open(path);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::interrupted) throw;
    throw hub::WeightsAbsent(error.what());
  }
  return without_values(std::move(source));
}

struct ReadableFile {
  fs::path path;
  ModelReader* reader;
};

// Of a folder without config.json: files that are models by themselves.
std::vector<ReadableFile> models_in(const fs::path& folder, const Registry& registry) {
  std::vector<ReadableFile> found;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    for (const std::string& name : registry.names(Kind::reader))
      if (ModelReader& reader = registry.reader(name); reader.matches(entry.path(), nullptr)) {
        found.push_back({entry.path(), &reader});
        break;
      }
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
  return found;
}

// A view and what it is a view of, which goes last.
struct Kept {
  std::unique_ptr<ModelSource> stored;
};
class PlainSource final : private Kept, public sdk::ForwardingSource {
 public:
  PlainSource(std::unique_ptr<ModelSource> whole, std::unique_ptr<ModelSource> plain)
      : Kept{std::move(whole)}, ForwardingSource(std::move(plain)) {}
};

}  // namespace

std::unique_ptr<ModelSource> open_stored(const std::string& model, const Registry& registry, Reporter& reporter) {
  const fs::path path = locate_model(model, reporter);
  output::refuse_unfinished_swap(path);
  if (std::error_code error; !fs::is_directory(path, error))
    check_input_file(path, std::numeric_limits<int64_t>::max());
  json::Value config;
  const json::Object* config_object = nullptr;
  if (fs::is_directory(path) && fs::exists(path / "config.json")) {
    config = json::read_file(path / "config.json");
    config_object = &json::as_object(config, str("'", (path / "config.json").string(), "'"));
  }
  const bool outlined = hub::outlined_id(path).has_value();
  std::string refusals;
  for (const std::string& name : registry.names(Kind::reader)) {
    ModelReader& reader = registry.reader(name);
    const Verdict mine = reader.matches(path, config_object);
    if (mine) return outlined ? open_outlined(reader, path) : reader.open(path);
    refusals += str("; ", name, ": ", mine.why_not);
  }
  if (config_object == nullptr && fs::is_directory(path)) {
    const std::vector<ReadableFile> files = models_in(path, registry);
    if (files.size() == 1) return files.front().reader->open(files.front().path);
    if (files.size() > 1)
      throw_input(str("'", path.string(), "' has no config.json and ", files.size(), " files that are models, '",
                      files.front().path.filename().string(), "' among them; name one of them"));
  }
  if (fs::is_regular_file(path)) {
    refuse_if_pointer(path);
    throw_unsupported(str("'", path.string(), "': no plugin reads this kind of file as a model", refusals));
  }
  if (config_object != nullptr && json::find(*config_object, "quantization_config") != nullptr) {
    const auto& quantization =
        json::as_object(config_object->at("quantization_config"), "config.json: quantization_config");
    const std::string method = json::get_string(quantization, "quant_method", "quantization_config").value_or("?");
    throw_unsupported(str("'", path.string(), "': already quantized with quant_method '", printable(method),
                          "', which no loaded plugin reads ('arkit list plugins' shows them)"));
  }
  return outlined ? without_values(open_hf_folder(path)) : open_hf_folder(path);
}

std::unique_ptr<ModelSource> open_plain_source(const std::string& model, const Registry& registry, Reporter& reporter) {
  std::unique_ptr<ModelSource> stored = open_stored(model, registry, reporter);
  if (std::unique_ptr<ModelSource> plain = stored->plain())
    stored = std::make_unique<PlainSource>(std::move(stored), std::move(plain));
  return canonical_source(std::move(stored), registry);
}

std::unique_ptr<ModelSource> open_source(const std::string& model, const Registry& registry, Reporter& reporter) {
  return canonical_source(open_stored(model, registry, reporter), registry);
}

std::unique_ptr<ModelSource> open_source(const std::string& model, const Registry& registry) {
  Reporter nobody;
  return open_source(model, registry, nobody);
}

ModelAdapter& adapter_for(const ModelSource& source, const Registry& registry) {
  const json::Object& config = source.config();
  std::vector<std::string> known;
  ModelAdapter* found = nullptr;
  for (const std::string& name : registry.names(Kind::model)) {
    ModelAdapter& adapter = registry.model(name);
    for (const std::string_view type : adapter.info().model_types) known.emplace_back(type);
    if (!adapter.matches(config)) continue;
    // Files a user gives, and those of arkit that no plugin claims, come first.
    if (dynamic_cast<const FamilyFiles*>(&adapter) != nullptr) return adapter;
    if (found == nullptr) found = &adapter;
  }
  if (found != nullptr) return *found;
  const auto type = json::get_string(config, "model_type", "config.json");
  if (!type) throw_input(str("'", source.path().string(), "': config.json has no 'model_type'"));
  throw_unsupported(unknown_name("model family", *type, known,
                                 str("known model types: ", quoted_list(known),
                                     "; 'arkit models new FOLDER -o FILE' drafts a file for --family "
                                     "(docs/FAMILIES.md); plain rounding needs none: --recipe rtn --model_free")));
}

ModelLayout layout_of(const ModelSource& source, const Registry& registry) {
  ModelLayout layout = adapter_for(source, registry).layout(source);
  sdk::check_tensors(layout, source);
  return layout;
}

}  // namespace arkit
