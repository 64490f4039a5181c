#include <array>
#include <charconv>
#include <cstring>
#include <limits>

#include <arkit/error.h>
#include <arkit/str.h>

#include "gguf_file.h"
#include "utf8.h"

namespace arkit::gguf {
namespace {

template <typename T>
T load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

// An integer of any width; nullopt for other types and for u64 beyond int64.
std::optional<int64_t> as_integer(ValueType type, const std::byte* at) {
  switch (type) {
    case ValueType::u8:
      return load<uint8_t>(at);
    case ValueType::i8:
      return load<int8_t>(at);
    case ValueType::u16:
      return load<uint16_t>(at);
    case ValueType::i16:
      return load<int16_t>(at);
    case ValueType::u32:
      return load<uint32_t>(at);
    case ValueType::i32:
      return load<int32_t>(at);
    case ValueType::i64:
      return load<int64_t>(at);
    case ValueType::u64: {
      const auto value = load<uint64_t>(at);
      if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
      return static_cast<int64_t>(value);
    }
    default:
      return std::nullopt;
  }
}

size_t width(ValueType type) {
  switch (type) {
    case ValueType::u8:
    case ValueType::i8:
    case ValueType::boolean:
      return 1;
    case ValueType::u16:
    case ValueType::i16:
      return 2;
    case ValueType::u64:
    case ValueType::i64:
    case ValueType::f64:
      return 8;
    default:
      return 4;
  }
}

// 9.999999974752427e-07, the float32 nearest to 1e-6, is meant as 1e-6: its shortest decimal that reads back.
double shortest(float value) {
  std::array<char, 32> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  double out = value;
  std::from_chars(digits.data(), end, out);
  return out;
}

}  // namespace

const Value* Metadata::find(std::string_view key) const {
  const auto it = values_.find(key);
  return it == values_.end() ? nullptr : &it->second;
}

void Metadata::wrong_type(std::string_view key, std::string_view expected) const {
  throw_input(str(file_, ": key '", printable(key), "' is not ", expected));
}

std::optional<int64_t> Metadata::integer(std::string_view key) const {
  const Value* value = find(key);
  if (value == nullptr) return std::nullopt;
  const auto out = as_integer(value->type, value->payload.data());
  if (!out) wrong_type(key, "an integer");
  return out;
}

std::optional<double> Metadata::number(std::string_view key) const {
  const Value* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (value->type == ValueType::f32) return shortest(load<float>(value->payload.data()));
  if (value->type == ValueType::f64) return load<double>(value->payload.data());
  const auto out = as_integer(value->type, value->payload.data());
  if (!out) wrong_type(key, "a number");
  return static_cast<double>(*out);
}

std::optional<bool> Metadata::boolean(std::string_view key) const {
  const Value* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (value->type != ValueType::boolean) wrong_type(key, "a boolean");
  return load<uint8_t>(value->payload.data()) != 0;
}

std::optional<std::string> Metadata::text(std::string_view key, size_t most) const {
  const Value* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (value->type != ValueType::string) wrong_type(key, "a string");
  const std::string_view out(reinterpret_cast<const char*>(value->payload.data()), value->payload.size());
  if (out.size() > most)
    throw_input(str(file_, ": key '", printable(key), "' is a text of ", out.size(), " bytes, at most ", most,
                    " are accepted"));
  if (!is_utf8(out)) wrong_type(key, "valid UTF-8");
  return std::string(out);
}

const Value* Metadata::find_array(std::string_view key, std::string_view expected) const {
  const Value* value = find(key);
  if (value != nullptr && value->type != ValueType::array) wrong_type(key, expected);
  return value;
}

bool Metadata::is_array(std::string_view key) const {
  const Value* value = find(key);
  return value != nullptr && value->type == ValueType::array;
}

std::vector<std::string_view> Metadata::texts(std::string_view key) const {
  const Value* value = find_array(key, "an array of strings");
  if (value == nullptr) return {};
  if (value->element != ValueType::string) wrong_type(key, "an array of strings");
  std::vector<std::string_view> out;
  const std::byte* at = value->payload.data();
  for (uint64_t i = 0; i < value->count; ++i) {
    const auto length = static_cast<size_t>(load<uint64_t>(at));
    out.emplace_back(reinterpret_cast<const char*>(at) + sizeof(uint64_t), length);
    if (!is_utf8(out.back())) throw_input(str(file_, ": element ", i, " of '", printable(key), "' is not valid UTF-8"));
    at += sizeof(uint64_t) + length;
  }
  return out;
}

std::vector<int64_t> Metadata::integers(std::string_view key, uint64_t most) const {
  const Value* value = find_array(key, "an array of integers");
  if (value == nullptr) return {};
  if (value->count > most)
    throw_input(str(file_, ": '", printable(key), "' has ", value->count, " entries, at most ", most, " are expected"));
  std::vector<int64_t> out;
  out.reserve(value->count);
  for (uint64_t i = 0; i < value->count; ++i) {
    const auto element = as_integer(value->element, value->payload.data() + i * width(value->element));
    if (!element) wrong_type(key, "an array of integers");
    out.push_back(*element);
  }
  return out;
}

std::vector<float> Metadata::floats(std::string_view key) const {
  const Value* value = find_array(key, "an array of f32");
  if (value == nullptr) return {};
  if (value->element != ValueType::f32) wrong_type(key, "an array of f32");
  std::vector<float> out(value->count);
  for (size_t i = 0; i < out.size(); ++i) out[i] = load<float>(value->payload.data() + i * sizeof(float));
  return out;
}

}  // namespace arkit::gguf
