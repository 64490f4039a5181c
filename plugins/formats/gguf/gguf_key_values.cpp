#include "gguf_key_values.h"

#include <bit>
#include <limits>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::gguf {
namespace {

enum Type : uint32_t { kU16 = 2, kU32 = 4, kI32 = 5, kF32 = 6, kBool = 7, kText = 8, kArray = 9 };

constexpr size_t kMostName = 63, kMostDimensions = 4;

template <typename T>
void append(std::string& to, T value) {
  static_assert(std::endian::native == std::endian::little, "GGUF files are little endian");
  to.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

void append_text(std::string& to, std::string_view text) {
  append(to, static_cast<uint64_t>(text.size()));
  to += text;
}

template <typename T>
T held(std::string_view key, int64_t value) {
  if (value < std::numeric_limits<T>::min() || value > std::numeric_limits<T>::max())
    throw_unsupported(str("GGUF's key '", key, "' does not hold ", value));
  return static_cast<T>(value);
}

}  // namespace

void KeyValues::begin(std::string_view key, uint32_t type) {
  append_text(bytes_, key);
  append(bytes_, type);
  ++count_;
}

void KeyValues::put_u16(std::string_view key, int64_t value) {
  const auto own = held<uint16_t>(key, value);
  begin(key, kU16);
  append(bytes_, own);
}
void KeyValues::put_u32(std::string_view key, int64_t value) {
  const auto own = held<uint32_t>(key, value);
  begin(key, kU32);
  append(bytes_, own);
}
void KeyValues::put_i32(std::string_view key, int64_t value) {
  const auto own = held<int32_t>(key, value);
  begin(key, kI32);
  append(bytes_, own);
}
void KeyValues::put_f32(std::string_view key, double value) {
  begin(key, kF32);
  append(bytes_, static_cast<float>(value));
}
void KeyValues::put_bool(std::string_view key, bool value) {
  begin(key, kBool);
  bytes_ += value ? '\1' : '\0';
}
void KeyValues::put_text(std::string_view key, std::string_view value) {
  if (value.empty()) return;
  begin(key, kText);
  append_text(bytes_, value);
}
void KeyValues::put_texts(std::string_view key, std::span<const std::string> values) {
  if (values.empty()) return;
  begin(key, kArray);
  append(bytes_, uint32_t{kText});
  append(bytes_, static_cast<uint64_t>(values.size()));
  for (const std::string& value : values) append_text(bytes_, value);
}
void KeyValues::put_i32s(std::string_view key, std::span<const int32_t> values) {
  if (values.empty()) return;
  begin(key, kArray);
  append(bytes_, uint32_t{kI32});
  append(bytes_, static_cast<uint64_t>(values.size()));
  for (const int32_t value : values) append(bytes_, value);
}
void KeyValues::put_f32s(std::string_view key, std::span<const float> values) {
  if (values.empty()) return;
  begin(key, kArray);
  append(bytes_, uint32_t{kF32});
  append(bytes_, static_cast<uint64_t>(values.size()));
  for (const float value : values) append(bytes_, value);
}

void KeyValues::put(std::string_view key, const Value& value) {
  begin(key, static_cast<uint32_t>(value.type));
  if (value.type == ValueType::array) {
    append(bytes_, static_cast<uint32_t>(value.element));
    append(bytes_, value.count);
  }
  if (value.type == ValueType::string) append(bytes_, static_cast<uint64_t>(value.payload.size()));
  bytes_.append(reinterpret_cast<const char*>(value.payload.data()), value.payload.size());
}

int64_t lay_out(std::span<StoredTensor> tensors, int64_t alignment) {
  int64_t at = 0;
  for (StoredTensor& tensor : tensors) {
    if (tensor.name.size() > kMostName)
      throw_unsupported(str("tensor '", printable(tensor.name), "' has a name of more than ", kMostName, " bytes"));
    if (tensor.shape.empty() || tensor.shape.size() > kMostDimensions)
      throw_unsupported(str("tensor '", tensor.name, "' has ", tensor.shape.size(), " dimensions, GGUF takes 1 to ",
                            kMostDimensions));
    const TypeInfo& type = *find_type(static_cast<uint32_t>(tensor.type));
    int64_t elements = 1;
    for (const int64_t size : tensor.shape) elements *= size;
    tensor.offset = at;
    tensor.bytes = elements / type.block_size * type.block_bytes;
    at += padded(tensor.bytes, alignment);
  }
  return at;
}

int64_t header_bytes(const StoredTensor& tensor) noexcept {
  return static_cast<int64_t>(8 + tensor.name.size() + 4 + 8 * tensor.shape.size() + 4 + 8);
}

std::string header_of(const KeyValues& keys, std::span<const StoredTensor> tensors, int64_t alignment) {
  std::string out = "GGUF";
  append(out, uint32_t{3});
  append(out, static_cast<uint64_t>(tensors.size()));
  append(out, keys.count());
  out += keys.bytes();
  for (const StoredTensor& tensor : tensors) {
    append_text(out, tensor.name);
    append(out, static_cast<uint32_t>(tensor.shape.size()));
    for (auto size = tensor.shape.rbegin(); size != tensor.shape.rend(); ++size)
      append(out, static_cast<uint64_t>(*size));
    append(out, static_cast<uint32_t>(tensor.type));
    append(out, static_cast<uint64_t>(tensor.offset));
  }
  out.resize(static_cast<size_t>(padded(static_cast<int64_t>(out.size()), alignment)), '\0');
  return out;
}

}  // namespace arkit::gguf
