// What is in a file, for people and as JSON.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>
#include <map>
#include <optional>

#include <arkit/error.h>
#include <arkit/mapped_file.h>
#include <arkit/regex.h>
#include <arkit/str.h>

#include "gguf_tool.h"
#include "utf8.h"

namespace arkit::gguf {
namespace {

constexpr size_t kShownElements = 8, kShownText = 120;
constexpr std::array<std::string_view, 13> kTypeNames{"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                                      "bool", "string", "array", "u64", "i64", "f64"};

template <typename T>
T read_as(const std::byte*& at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  at += sizeof(T);
  return value;
}

// Numbers that are none are texts in JSON; an f32 is the shortest decimal that it is.
template <typename T>
json::Value real(T value) {
  if (!std::isfinite(value)) return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
  std::array<char, 32> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  double shown = value;
  std::from_chars(digits.data(), end, shown);
  return shown;
}

// JSON is UTF-8; what is not is shown as bytes.
json::Value text_value(std::string_view text, bool whole) {
  size_t size = whole ? text.size() : std::min(text.size(), kShownText);
  while (size > 0 && size < text.size() && (static_cast<unsigned char>(text[size]) & 0xC0U) == 0x80U) --size;
  const std::string_view shown = text.substr(0, size);
  std::string out = is_utf8(shown) ? std::string(shown) : printable(shown, shown.size() * 4);
  if (size < text.size()) out += str("... (", text.size(), " bytes)");
  return json::Value(out);
}

// The value at `at`, which moves on.
json::Value read_one(ValueType type, const std::byte*& at, bool whole) {
  switch (type) {
    case ValueType::u8:
      return read_as<uint8_t>(at);
    case ValueType::i8:
      return read_as<int8_t>(at);
    case ValueType::u16:
      return read_as<uint16_t>(at);
    case ValueType::i16:
      return read_as<int16_t>(at);
    case ValueType::u32:
      return read_as<uint32_t>(at);
    case ValueType::i32:
      return read_as<int32_t>(at);
    case ValueType::u64:
      return read_as<uint64_t>(at);
    case ValueType::i64:
      return read_as<int64_t>(at);
    case ValueType::f32:
      return real(read_as<float>(at));
    case ValueType::f64:
      return real(read_as<double>(at));
    case ValueType::boolean:
      return read_as<uint8_t>(at) != 0;
    case ValueType::string: {
      const auto length = static_cast<size_t>(read_as<uint64_t>(at));
      const std::string_view text(reinterpret_cast<const char*>(at), length);
      at += length;
      return text_value(text, whole);
    }
    case ValueType::array:
      break;
  }
  return nullptr;
}

json::Value shown_value(const Value& value, bool whole) {
  const std::byte* at = value.payload.data();
  if (value.type == ValueType::string)
    return text_value({reinterpret_cast<const char*>(at), value.payload.size()}, whole);
  if (value.type != ValueType::array) return read_one(value.type, at, whole);
  json::Array elements;
  const uint64_t count = whole ? value.count : std::min<uint64_t>(value.count, kShownElements);
  for (uint64_t i = 0; i < count; ++i) elements.push_back(read_one(value.element, at, whole));
  return elements;
}

json::Object shown_key(const std::string& key, const Value& value, bool whole) {
  json::Object shown{{"key", printable(key, key.size() * 4)}, {"type", name_of(value.type)}};
  if (value.type == ValueType::array) {
    shown["type"] = str(name_of(value.element), "[", value.count, "]");
    shown["count"] = value.count;
  }
  shown["value"] = shown_value(value, whole);
  return shown;
}

json::Object shown_tensor(const TensorEntry& tensor) {
  json::Array shape;
  for (const int64_t size : tensor.shape) shape.emplace_back(size);
  return {{"name", printable(tensor.name)},
          {"type", tensor.type->name},
          {"shape", std::move(shape)},
          {"bytes", tensor.bytes},
          {"offset", tensor.offset}};
}

struct Sum {
  int64_t tensors = 0, weights = 0, bytes = 0;
};

json::Array shown_types(const std::vector<TensorEntry>& tensors) {
  std::map<std::string_view, Sum> sums;
  for (const TensorEntry& tensor : tensors) {
    Sum& sum = sums[tensor.type->name];
    ++sum.tensors;
    sum.weights += tensor.bytes / tensor.type->block_bytes * tensor.type->block_size;
    sum.bytes += tensor.bytes;
  }
  json::Array rows;
  for (const auto& [name, sum] : sums)
    rows.push_back(
        json::Object{{"type", name}, {"tensors", sum.tensors}, {"weights", sum.weights}, {"bytes", sum.bytes}});
  return rows;
}

}  // namespace

std::string_view name_of(ValueType type) {
  return kTypeNames.at(static_cast<size_t>(type));
}

Pairs pairs_of(const Metadata& metadata) {
  Pairs pairs(metadata.values().begin(), metadata.values().end());
  // Values are views of the file: where they lie is their order.
  std::sort(pairs.begin(), pairs.end(),
            [](const auto& a, const auto& b) { return a.second.payload.data() < b.second.payload.data(); });
  return pairs;
}

json::Object show_file(const std::filesystem::path& path, const ShowFile& task) {
  std::optional<Regex> filter;
  if (!task.filter.empty()) filter.emplace(task.filter, "--filter");
  const auto wanted = [&](std::string_view name) { return !filter || filter->search(name); };
  const MappedFile map(path);
  const File file = parse_gguf(map.bytes(), str("'", path.string(), "'"));
  json::Array keys, tensors;
  for (const auto& [key, value] : pairs_of(file.metadata))
    if (wanted(key)) keys.push_back(shown_key(key, value, task.whole));
  for (const TensorEntry& tensor : file.tensors)
    if (wanted(tensor.name)) tensors.push_back(shown_tensor(tensor));
  if (filter && keys.empty() && tensors.empty())
    throw_usage(
        str("--filter '", printable(task.filter), "' is found in no name of a key or tensor of '", path.string(), "'"));
  json::Object shown{{"file", path.string()},
                     {"bytes", static_cast<int64_t>(map.bytes().size())},
                     {"header_bytes", file.header_bytes},
                     {"alignment", file.metadata.integer("general.alignment").value_or(32)}};
  if (const auto count = file.metadata.integer("split.count"); count && *count > 1)
    shown["part"] = str(file.metadata.integer("split.no").value_or(0) + 1, " of ", *count);
  shown["types"] = shown_types(file.tensors);
  shown["keys"] = std::move(keys);
  shown["tensors"] = std::move(tensors);
  return shown;
}

}  // namespace arkit::gguf
