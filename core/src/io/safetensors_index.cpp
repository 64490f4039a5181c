#include "io/safetensors_index.h"

#include <arkit/error.h>
#include <arkit/str.h>

#include "io/safe_path.h"

namespace arkit::io {
namespace {

constexpr size_t kMaxTensors = size_t{1} << 20;
constexpr size_t kMaxShards = 4096;
constexpr size_t kMaxNameBytes = 1024;

}  // namespace

SafetensorsIndex parse_safetensors_index(const json::Value& value, std::string_view what) {
  const json::Object& root = json::as_object(value, what);
  const json::Value* map = json::find(root, "weight_map");
  if (map == nullptr) throw_input(str(what, ": has no 'weight_map'"));
  const json::Object& weight_map = json::as_object(*map, str(what, ": 'weight_map'"));
  if (weight_map.empty() || weight_map.size() > kMaxTensors)
    throw_input(str(what, ": 'weight_map' names ", weight_map.size(), " tensors, expected 1 to ", kMaxTensors));
  SafetensorsIndex index;
  for (const auto& member : weight_map) {
    const std::string_view name = member.key();
    if (name.empty() || name.size() > kMaxNameBytes)
      throw_input(str(what, ": a tensor name of ", name.size(), " bytes, expected 1 to ", kMaxNameBytes));
    if (!member.value().is_string())
      throw_input(str(what, ": tensor '", printable(name), "' has no file name, expected a string"));
    const std::string_view file = member.value().get_string();
    if (!is_plain_name(file))
      throw_input(str(what, ": tensor '", printable(name), "' points to '", printable(file),
                      "'; only plain file names of the model folder are accepted"));
    if (!file.ends_with(".safetensors"))
      throw_input(str(what, ": tensor '", printable(name), "' points to '", printable(file),
                      "', expected a name ending in '.safetensors'"));
    index.file_of.emplace(name, file);
    index.files.emplace(file);
  }
  if (index.files.size() > kMaxShards)
    throw_input(str(what, ": names ", index.files.size(), " files, at most ", kMaxShards, " are accepted"));
  return index;
}

}  // namespace arkit::io
