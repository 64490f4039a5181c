// Tensors of one safetensors file or of several shards, mapped and read on demand.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/mapped_file.h>
#include <arkit/model_source.h>
#include <arkit/str.h>

#include "io/late_file.h"
#include "io/safe_path.h"
#include "io/safetensors_header.h"
#include "io/safetensors_index.h"

namespace arkit {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kSingleFile = "model.safetensors";
constexpr std::string_view kIndexFile = "model.safetensors.index.json";

class SafetensorsSource final : public WeightSource {
 public:
  // Maps `file`, shown as `label` in messages, and appends its tensors.
  void add_file(const fs::path& file, const std::string& label) {
    auto map = std::make_unique<MappedFile>(file);
    const std::shared_ptr<io::LateFile> late = io::late_file(file);
    for (io::SafetensorsEntry& entry : io::parse_safetensors_header(map->bytes(), str("'", label, "'"))) {
      found_.push_back({.name = std::move(entry.name),
                        .dtype = entry.dtype,
                        .stored_type = std::move(entry.stored_type),
                        .shape = std::move(entry.shape),
                        .stored_bytes = entry.end - entry.begin,
                        .file = label});
      places_.push_back(
          {map.get(), late, static_cast<size_t>(entry.begin), static_cast<size_t>(entry.end - entry.begin)});
    }
    maps_.push_back(std::move(map));
  }

  void seal() { set_tensors(std::move(found_)); }

  [[nodiscard]] at::Tensor load(std::string_view name) const override {
    const TensorInfo* info = find(name);
    if (info == nullptr) throw_input(str("tensor '", printable(name), "' is not in the model"));
    const Place& place = place_of(*info);
    if (place.size == 0) return at::empty(info->shape, info->dtype);
    const std::shared_ptr<const void> use = place.late ? place.late->use() : nullptr;  // the tensor holds it
    place.map->require_unchanged();
    place.map->will_need(place.offset, place.size);
    const std::byte* data = place.map->bytes().data() + place.offset;
    const at::Tensor view = at::from_blob(
        const_cast<std::byte*>(data), info->shape, [use](void*) {}, at::TensorOptions(info->dtype));
    // Old writers did not pad the header; element access through a misaligned pointer is undefined.
    const bool aligned = reinterpret_cast<uintptr_t>(data) % c10::elementSize(info->dtype) == 0;
    return aligned ? view : aligned_copy(*info, data, place.size);
  }

  void release(std::string_view name) const noexcept override {
    const TensorInfo* info = find(name);
    if (info == nullptr) return;
    const Place& place = place_of(*info);
    place.map->release(place.offset, place.size);
  }

 private:
  struct Place {
    const MappedFile* map;
    std::shared_ptr<io::LateFile> late;  // null = the file is there
    size_t offset, size;
  };

  [[nodiscard]] const Place& place_of(const TensorInfo& info) const {
    return places_[static_cast<size_t>(&info - tensors().data())];
  }

  static at::Tensor aligned_copy(const TensorInfo& info, const std::byte* data, size_t size) {
    at::Tensor copy = at::empty(info.shape, info.dtype);
    std::copy_n(data, size, static_cast<std::byte*>(copy.mutable_data_ptr()));
    return copy;
  }

  std::vector<std::unique_ptr<MappedFile>> maps_;
  std::vector<TensorInfo> found_;  // empty once they are sealed
  std::vector<Place> places_;      // by index of tensors()
};

// "model-00002-of-00004.safetensors"
bool is_shard_name(std::string_view name) {
  constexpr std::string_view kPattern = "model-#####-of-#####.safetensors";
  return name.size() == kPattern.size() && std::equal(name.begin(), name.end(), kPattern.begin(), [](char c, char p) {
           return p == '#' ? c >= '0' && c <= '9' : c == p;
         });
}

bool is_pickle_name(std::string_view name) {
  return name.ends_with(".bin") || name.ends_with(".pt") || name.ends_with(".pth") || name.ends_with(".ckpt") ||
         name.ends_with(".pkl");
}

std::vector<std::string> file_names(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    names.push_back(it->path().filename().string());
  if (error) throw_input(str("'", folder.string(), "': cannot be read (", error.message(), ")"));
  std::sort(names.begin(), names.end());
  return names;
}

[[noreturn]] void refuse_pickle(const std::string& file) {
  throw_unsupported(str("'", printable(file),
                        "': pickle weights can run code while they are read, so arkit does not read them; ",
                        "save the model as safetensors first (in Python: ",
                        "AutoModelForCausalLM.from_pretrained(...).save_pretrained(folder))"));
}

[[noreturn]] void throw_no_weights(const fs::path& folder, std::span<const std::string> names) {
  const auto pickle = std::find_if(names.begin(), names.end(), is_pickle_name);
  if (io::has_entry(folder, "adapter_model.safetensors"))
    throw_input(str("'", folder.string(),
                    "': holds the weights of an adapter (adapter_model.safetensors) and none of a "
                    "model; merge it into its base model first"));
  if (pickle != names.end()) refuse_pickle((folder / *pickle).string());
  throw_input(str("'", folder.string(), "': has neither '", kSingleFile, "' nor '", kIndexFile,
                  "'; is the download complete?"));
}

// The index and the shards must name exactly the same tensors.
// A tensor in two shards is two of tensors(), and find() would silently keep the first.
void require_agreement(const SafetensorsSource& source, const io::SafetensorsIndex& index, const std::string& what) {
  for (const TensorInfo& info : source.tensors()) {
    const auto it = index.file_of.find(info.name);
    if (it == index.file_of.end())
      throw_input(str("'", info.file, "': tensor '", printable(info.name), "' is not listed in ", what));
    if (it->second != info.file)
      throw_input(str("'", info.file, "': tensor '", printable(info.name), "' belongs to '", it->second,
                      "' according to ", what, "; no tensor may be in two shards"));
  }
  if (source.tensors().size() == index.file_of.size()) return;
  for (const auto& [name, file] : index.file_of)
    if (source.find(name) == nullptr)
      throw_input(
          str("'", file, "': tensor '", printable(name), "' is listed in ", what, " but the file does not hold it"));
}

std::unique_ptr<SafetensorsSource> open_shards(const fs::path& folder, std::span<const std::string> names) {
  const fs::path path = io::resolve_file(folder, kIndexFile);
  const std::string what = str("'", kIndexFile, "'");
  const io::SafetensorsIndex index = io::parse_safetensors_index(json::read_file(path), what);
  for (const std::string& name : names)
    if (is_shard_name(name) && !index.files.contains(name))
      throw_input(str("'", (folder / name).string(), "': a shard that ", what,
                      " does not list; remove it or copy the index again"));
  auto source = std::make_unique<SafetensorsSource>();
  for (const std::string& file : index.files) {
    if (!io::has_entry(folder, file))
      throw_input(str("'", (folder / file).string(), "': missing, ", what, " lists it; is the download complete?"));
    source->add_file(io::resolve_file(folder, file), file);
  }
  source->seal();
  require_agreement(*source, index, what);
  return source;
}

// Names that loaders take for weights of the model: "model*" (all of which mlx-lm reads), shards, a merged whole.
bool may_be_loaded(std::string_view name) {
  return name.ends_with(".safetensors") && (name.starts_with("model") || name.starts_with("pytorch_model") ||
                                            name.starts_with("consolidated") || name.find("-of-") != name.npos);
}

// Such a file beside those that make up the model may be another set of the same weights: a download mixed with
// an old one, a variant, a merge. Which is meant nobody can know. Files of other names for tensors (Mistral's own
// consolidated.safetensors, adapters) and what is no safetensors file are no concern of a model.
void refuse_second_set(const fs::path& folder, const SafetensorsSource& source, std::span<const std::string> names) {
  std::set<std::string_view> own;
  for (const TensorInfo& info : source.tensors()) own.insert(info.file);
  for (const std::string& name : names) {
    std::error_code error;
    if (!may_be_loaded(name) || own.contains(name) || !fs::is_regular_file(folder / name, error)) continue;
    std::vector<std::string> held;
    try {
      const MappedFile map(folder / name);
      for (const io::SafetensorsEntry& entry : io::parse_safetensors_header(map.bytes(), name))
        held.push_back(entry.name);
    } catch (const Error& broken) {
      if (broken.code() == ErrorCode::interrupted) throw;
      continue;
    }
    const auto twice = std::find_if(held.begin(), held.end(), [&](const std::string& t) { return source.find(t); });
    if (twice == held.end()) continue;
    throw_input(str("'", folder.string(), "': two sets of weights: tensor '", printable(*twice), "' is in '",
                    source.find(*twice)->file, "' and in '", printable(name), "'",
                    io::has_entry(folder, kIndexFile) ? str(" ('", kIndexFile, "' lists one of them)") : std::string(),
                    "; move the files that do not belong to this model elsewhere"));
  }
}

// An index beside model.safetensors rules when it lists that file (extra tensors kept apart,
// docs/spec/export-folder.md 6); otherwise the single file does, as in transformers.
bool uses_index(const fs::path& folder) {
  if (!io::has_entry(folder, kIndexFile)) return false;
  if (!io::has_entry(folder, kSingleFile)) return true;
  const json::Value index = json::read_file(io::resolve_file(folder, kIndexFile));
  return io::parse_safetensors_index(index, str("'", kIndexFile, "'")).files.contains(kSingleFile);
}

}  // namespace

std::unique_ptr<WeightSource> open_safetensors(const fs::path& file_or_folder) {
  std::error_code error;
  if (fs::is_directory(file_or_folder, error)) {
    const std::vector<std::string> names = file_names(file_or_folder);
    std::unique_ptr<SafetensorsSource> source;
    if (uses_index(file_or_folder)) {
      source = open_shards(file_or_folder, names);
    } else {
      if (!io::has_entry(file_or_folder, kSingleFile)) throw_no_weights(file_or_folder, names);
      source = std::make_unique<SafetensorsSource>();
      source->add_file(io::resolve_file(file_or_folder, kSingleFile), std::string(kSingleFile));
      source->seal();
    }
    refuse_second_set(file_or_folder, *source, names);
    return source;
  }
  if (is_pickle_name(file_or_folder.filename().string())) refuse_pickle(file_or_folder.string());
  auto source = std::make_unique<SafetensorsSource>();
  source->add_file(file_or_folder, file_or_folder.filename().string());
  source->seal();
  return source;
}

}  // namespace arkit
