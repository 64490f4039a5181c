// Keys changed, files cut and joined.
#include <algorithm>
#include <optional>
#include <span>
#include <system_error>

#include <arkit/error.h>
#include <arkit/log.h>
#include <arkit/mapped_file.h>
#include <arkit/str.h>

#include "gguf_architecture.h"
#include "gguf_key_values.h"
#include "gguf_parts.h"
#include "gguf_tokenizer.h"
#include "gguf_tool.h"
#include "gguf_value_text.h"
#include "gguf_writer.h"
#include "utf8.h"

namespace arkit::gguf {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kCopiedBytes = int64_t{8} << 20;
constexpr int64_t kSparePadding = int64_t{8} << 20;
constexpr std::string_view kParts = "split.", kAlignmentKey = "general.alignment", kEnd = ".gguf";

std::string quoted_path(const fs::path& path) {
  return str("'", path.string(), "'");
}

KeyValues key_values(const Pairs& pairs, bool parts_too) {
  KeyValues keys;
  for (const auto& [key, value] : pairs)
    if (parts_too || !key.starts_with(kParts)) keys.put(key, value);
  return keys;
}

std::vector<StoredTensor> stored_tensors(const File& file) {
  std::vector<StoredTensor> stored;
  for (const TensorEntry& tensor : file.tensors) {
    StoredTensor& own = stored.emplace_back();
    own.name = tensor.name;
    own.shape = tensor.shape;
    own.type = tensor.type->type;
  }
  return stored;
}

void copy_tensors(const Parts& parts, Writer& writer) {
  for (size_t i = 0; i < parts.file.tensors.size(); ++i) {
    const TensorEntry& tensor = parts.file.tensors[i];
    const MappedFile& map = parts.map_of(tensor);
    ARKIT_CHECK(writer.tensor(i).bytes == tensor.bytes, str("tensor '", tensor.name, "' has another size"));
    map.require_unchanged();
    for (int64_t at = 0; at < tensor.bytes; at += kCopiedBytes) {
      throw_if_interrupted();
      const int64_t size = std::min(kCopiedBytes, tensor.bytes - at);
      writer.write(i, at, map.bytes().data() + tensor.offset + at, size);
      map.release(static_cast<size_t>(tensor.offset + at), static_cast<size_t>(size));
    }
  }
}

// "a/b.gguf" -> its folder, "b".
std::pair<fs::path, std::string> place_of_output(const fs::path& output) {
  std::string stem = output.filename().string();
  if (stem.ends_with(kEnd)) stem.resize(stem.size() - kEnd.size());
  if (stem.empty() || stem == "." || stem == "..")
    throw_usage(str("--output ", quoted_path(output), " names no file; give one such as 'model.gguf'"));
  const fs::path folder = output.has_parent_path() ? output.parent_path() : fs::path(".");
  std::error_code error;
  if (!fs::is_directory(folder, error))
    throw_usage(str("--output ", quoted_path(output), ": there is no folder ", quoted_path(folder), "; make it first"));
  return {folder, stem};
}

void require_free(const fs::path& folder, const std::vector<std::string>& names) {
  std::error_code error;
  for (const std::string& name : names)
    if (fs::exists(fs::symlink_status(folder / name, error)))
      throw_usage(str(quoted_path(folder / name), " exists; choose another --output, or remove it"));
}

json::Array file_list(const Writer& writer) {
  json::Array files;
  for (const fs::path& file : writer.files()) files.emplace_back(file.string());
  return files;
}

int64_t alignment_of_keys(const Metadata& metadata) {
  return metadata.integer(kAlignmentKey).value_or(kAlignment);
}

// Padding is by the first part's alignment, which may be far larger than that of the others: a megabyte after each of
// many small tensors would fill a disk.
void require_honest_padding(const Parts& parts, int64_t bytes, int64_t alignment) {
  int64_t known = 0;
  for (const auto& map : parts.maps) known += static_cast<int64_t>(map->bytes().size());
  if (bytes / 2 > known + kSparePadding)
    throw_input(str(parts.file.metadata.file(), ": its '", kAlignmentKey, "' of ", alignment, " would make ", bytes,
                    " bytes of ", known, ", nearly all of them padding; the file is damaged, copy it again"));
}

// All that is known under other names, written as one file or as `rule` says. The lock keeps two runs from one name.
json::Object write_copy(const Parts& parts, const KeyValues& keys, const fs::path& folder, const std::string& stem,
                        const CutRule& rule) {
  const int64_t alignment = alignment_of_keys(parts.file.metadata);
  std::vector<StoredTensor> stored = stored_tensors(parts.file);
  const std::vector<size_t> counts = cut(keys, stored, rule, alignment);
  require_honest_padding(parts, bytes_of(keys, stored, counts, alignment), alignment);
  const FolderLock lock(folder);
  require_free(folder, Writer::names(stem, counts.size()));
  Writer writer(folder, stem, keys, std::move(stored), counts, alignment);
  copy_tensors(parts, writer);
  writer.publish();
  return {{"files", file_list(writer)},
          {"bytes", writer.bytes()},
          {"tensors", static_cast<int64_t>(parts.file.tensors.size())}};
}

// What keeps readers from making a model of these keys; empty = nothing.
std::string why_no_model(const File& file, Metadata metadata) {
  try {
    const File shown{.metadata = std::move(metadata), .tensors = file.tensors, .header_bytes = file.header_bytes};
    const Architecture& architecture = architecture_of(shown.metadata);
    const json::Object config =
        make_config(shown, architecture, read_hyper_parameters(shown.metadata, architecture), {});
    (void)make_tokenizer_json(shown.metadata);
    (void)make_tokenizer_config(shown.metadata, config);
    return {};
  } catch (const Error& error) {
    return error.what();
  }
}

// In place of the file: the new one has its name when it is complete.
json::Object rewrite(const Parts& parts, const KeyValues& keys, const fs::path& path) {
  std::error_code error;
  if (fs::is_symlink(path, error))
    throw_usage(str(quoted_path(path), " is a link to ", quoted_path(fs::read_symlink(path, error)),
                    "; name that file, or give --output"));
  const int64_t alignment = alignment_of_keys(parts.file.metadata);
  std::string stem = path.filename().string();
  if (!stem.ends_with(kEnd)) throw_usage(str(quoted_path(path), " does not end in '.gguf'; give --output"));
  stem.resize(stem.size() - kEnd.size());
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  const FolderLock lock(folder);
  std::vector<StoredTensor> stored = stored_tensors(parts.file);
  const size_t count = stored.size();
  Writer writer(folder, stem, keys, std::move(stored), {count}, alignment);
  copy_tensors(parts, writer);
  writer.publish();
  return {{"files", file_list(writer)}, {"bytes", writer.bytes()}, {"tensors", static_cast<int64_t>(count)}};
}

void require_changeable(std::string_view key, const std::string& where) {
  if (key.starts_with(kParts))
    throw_usage(str(where, ": 'split.*' say which part a file is; 'arkit gguf split' and 'merge' write them"));
  if (key == kAlignmentKey) throw_usage(str(where, ": '", kAlignmentKey, "' says where tensors lie and stays"));
}

}  // namespace

EditedKeys::EditedKeys(const Metadata& metadata) : file_(metadata.file()), pairs_(pairs_of(metadata)) {}

Value EditedKeys::encoded(WrittenType type, std::string_view text, const std::string& where) {
  const WrittenValue& value = values_.emplace_back(written_value(type, text, where));
  return {.type = value.type.type,
          .element = value.type.element,
          .count = value.count,
          .payload = std::as_bytes(std::span(value.payload))};
}

void EditedKeys::set(std::string_view assignment) {
  const size_t equals = assignment.find('=');
  if (equals == 0 || equals == std::string_view::npos)
    throw_usage(str("'", printable(assignment), "' is not KEY=VALUE, as in 'general.name=My model'"));
  const std::string_view key = assignment.substr(0, equals);
  std::string_view text = assignment.substr(equals + 1);
  const std::string where = str("'", printable(key), "'");
  require_changeable(key, where);
  const auto known = std::find_if(pairs_.begin(), pairs_.end(), [&](const auto& pair) { return pair.first == key; });
  if (known != pairs_.end()) {
    known->second = encoded({known->second.type, known->second.element}, text, where);
    return;
  }
  auto type = type_of_list(text, where);
  if (!type) {
    const size_t colon = text.find(':');
    type = colon == std::string_view::npos ? std::nullopt : find_written_type(text.substr(0, colon));
    if (!type)
      throw_usage(str(where, " is not in ", file_,
                      ": of a new key say the type, KEY=TYPE:VALUE with TYPE string, bool, u32, ",
                      "i32, f32, u64, i64, f64, u16, i16, u8, i8, or one of them with [] for an array, as in '",
                      printable(key), "=string:", "...'"));
    text.remove_prefix(colon + 1);
  }
  if (!is_utf8(key)) throw_usage(str(where, ": the key is no UTF-8"));
  pairs_.emplace_back(key, encoded(*type, text, where));
}

void EditedKeys::remove(std::string_view key) {
  const std::string where = str("--remove '", printable(key), "'");
  require_changeable(key, where);
  if (std::erase_if(pairs_, [&](const auto& pair) { return pair.first == key; }) == 0)
    throw_usage(str(where, " is not in ", file_, "; 'arkit gguf show' lists its keys"));
}

Metadata EditedKeys::metadata() const {
  Metadata metadata(file_);
  for (const auto& [key, value] : pairs_) metadata.insert(key, value);
  return metadata;
}

json::Object set_metadata(const fs::path& path, const SetMetadata& task) {
  const Parts parts(path);
  const Metadata& before = parts.file.metadata;
  if (before.integer("split.no").value_or(0) > 0)
    throw_usage(
        str(quoted_path(path), " is a later part of a model, and what a model says is in the first; name that"));
  const bool is_part = before.integer("split.count").value_or(1) > 1;
  if (is_part && !task.output.empty())
    throw_usage(str(quoted_path(path), " is one of several parts and is changed in its place; leave --output out, or ",
                    "join them first ('arkit gguf merge')"));
  EditedKeys keys(before);
  for (const std::string& key : task.remove) keys.remove(key);
  for (const std::string& assignment : task.set) keys.set(assignment);
  // A part alone is no model; keys are looked at as far as they go.
  if (!task.force && why_no_model(parts.file, before).empty())
    if (const std::string why = why_no_model(parts.file, keys.metadata()); !why.empty())
      throw_usage(
          str("with these keys the model could not be read any more: ", why, "; --force writes it all the same"));
  const KeyValues own = key_values(keys.pairs(), true);
  if (task.output.empty()) return rewrite(parts, own, path);
  const auto [folder, stem] = place_of_output(task.output);
  return write_copy(parts, own, folder, stem, {});
}

json::Object split_file(const fs::path& path, const SplitFile& task) {
  if (!task.max_bytes && !task.max_tensors)
    throw_usage("'arkit gguf split' needs --split_max_size SIZE or --split_max_tensors N: how large parts may be");
  if (task.max_tensors.value_or(1) < 1)
    throw_usage(str("--split_max_tensors ", *task.max_tensors, ": a part has at least 1 tensor"));
  const Parts parts = open_parts(path);
  std::string option = "--split_max_tensors";
  if (task.max_bytes) option = str("--split_max_size ", *task.max_bytes);
  const CutRule rule{.bytes = task.max_bytes, .tensors = task.max_tensors, .option = std::move(option)};
  const KeyValues keys = key_values(pairs_of(parts.file.metadata), false);
  if (cut(keys, stored_tensors(parts.file), rule, alignment_of_keys(parts.file.metadata)).size() == 1)
    throw_usage(str(quoted_path(path), " fits into one part of this size; there is nothing to split"));
  fs::path output = task.output;
  if (output.empty()) {
    const auto name = read_part_name(path.filename().string());
    output = path.parent_path() / (name ? name->stem : path.filename().string());
  }
  const auto [folder, stem] = place_of_output(output);
  return write_copy(parts, keys, folder, stem, rule);
}

json::Object merge_file(const fs::path& path, const MergeFile& task) {
  const Parts parts = open_parts(path);
  if (parts.maps.size() == 1)
    throw_usage(str(quoted_path(path), " is a whole model and no part of one; there is nothing to merge"));
  fs::path output = task.output;
  if (output.empty()) {
    const auto name = read_part_name(path.filename().string());
    output = path.parent_path() / (name.value().stem + std::string(kEnd));
  }
  const auto [folder, stem] = place_of_output(output);
  return write_copy(parts, key_values(pairs_of(parts.file.metadata), false), folder, stem, {});
}

}  // namespace arkit::gguf
