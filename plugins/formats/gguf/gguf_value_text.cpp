#include "gguf_value_text.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <system_error>

#include <arkit/error.h>
#include <arkit/input_file.h>
#include <arkit/json.h>
#include <arkit/str.h>

#include "gguf_tool.h"
#include "utf8.h"

namespace arkit::gguf {
namespace {

constexpr int64_t kMostTextBytes = int64_t{64} << 20;
constexpr std::string_view kArrayEnd = "[]";

std::optional<ValueType> find_value_type(std::string_view name) {
  for (uint32_t id = 0; id <= static_cast<uint32_t>(ValueType::f64); ++id)
    if (const auto type = static_cast<ValueType>(id); type != ValueType::array && name_of(type) == name) return type;
  return std::nullopt;
}

template <typename T>
std::string raw_bytes(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof(T)};
}

// A number of type T, all of `text`; null = it is none.
template <typename T>
std::optional<std::string> number_bytes(std::string_view text) {
  T value{};
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || rest != text.data() + text.size()) return std::nullopt;
  return raw_bytes(value);
}

std::optional<std::string> scalar_bytes(ValueType type, std::string_view text) {
  switch (type) {
    case ValueType::u8:
      return number_bytes<uint8_t>(text);
    case ValueType::i8:
      return number_bytes<int8_t>(text);
    case ValueType::u16:
      return number_bytes<uint16_t>(text);
    case ValueType::i16:
      return number_bytes<int16_t>(text);
    case ValueType::u32:
      return number_bytes<uint32_t>(text);
    case ValueType::i32:
      return number_bytes<int32_t>(text);
    case ValueType::u64:
      return number_bytes<uint64_t>(text);
    case ValueType::i64:
      return number_bytes<int64_t>(text);
    case ValueType::f32:
      return number_bytes<float>(text);
    case ValueType::f64:
      return number_bytes<double>(text);
    case ValueType::boolean:
      if (text != "true" && text != "false") return std::nullopt;
      return raw_bytes(static_cast<uint8_t>(text == "true"));
    case ValueType::string:
    case ValueType::array:
      break;
  }
  return std::nullopt;
}

[[noreturn]] void refuse(const std::string& where, std::string_view text, ValueType type) {
  throw_usage(str(where, ": '", printable(text), "' is no value of type ", name_of(type)));
}

std::string text_of(std::string_view text, const std::string& where) {
  if (text.starts_with("@@")) return std::string(text.substr(1));
  if (text.starts_with("@")) return read_input_file(std::filesystem::path(text.substr(1)), kMostTextBytes, where);
  return std::string(text);
}

json::Array list_of(const std::string& text, const std::string& where) {
  try {
    return json::as_array(json::parse(text, where), where);
  } catch (const Error& error) {
    throw_usage(str(error.what(), "; an array is written as JSON, as in [\"a\", \"b\"]"));
  }
}

std::string element_bytes(ValueType type, const json::Value& element, const std::string& where) {
  if (type != ValueType::string) {
    const std::string text = json::dump(element);
    const auto bytes = scalar_bytes(type, text);
    if (!bytes) refuse(where, text, type);
    return *bytes;
  }
  if (!element.is_string()) refuse(where, json::dump(element), type);
  const std::string_view text = element.get_string();
  return raw_bytes(static_cast<uint64_t>(text.size())) + std::string(text);
}

}  // namespace

std::optional<WrittenType> find_written_type(std::string_view name) {
  const bool array = name.ends_with(kArrayEnd);
  const auto type = find_value_type(array ? name.substr(0, name.size() - kArrayEnd.size()) : name);
  if (!type) return std::nullopt;
  return array ? WrittenType{ValueType::array, *type} : WrittenType{*type};
}

std::optional<WrittenType> type_of_list(std::string_view text, const std::string& where) {
  if (!text.starts_with("[")) return std::nullopt;
  const json::Array list = list_of(std::string(text), where);
  const auto all = [&](const auto& is) { return !list.empty() && std::all_of(list.begin(), list.end(), is); };
  if (all([](const json::Value& v) { return v.is_string(); })) return WrittenType{ValueType::array, ValueType::string};
  if (all([](const json::Value& v) { return v.is_bool(); })) return WrittenType{ValueType::array, ValueType::boolean};
  return std::nullopt;
}

WrittenValue written_value(WrittenType type, std::string_view text, const std::string& where) {
  WrittenValue value{.type = type, .count = 0, .payload = {}};
  if (type.type == ValueType::string) {
    value.payload = text_of(text, where);
    if (!is_utf8(value.payload)) throw_usage(str(where, ": the text is no UTF-8"));
    if (value.payload.empty()) throw_usage(str(where, ": the text is empty; --remove takes the key out"));
  } else if (type.type == ValueType::array) {
    for (const json::Value& element : list_of(text_of(text, where), where))
      value.payload += element_bytes(type.element, element, str(where, ", element ", value.count++));
    if (value.count == 0) throw_usage(str(where, ": the array is empty; --remove takes the key out"));
  } else {
    const auto bytes = scalar_bytes(type.type, text);
    if (!bytes) refuse(where, text, type.type);
    value.payload = *bytes;
  }
  return value;
}

}  // namespace arkit::gguf
