#pragma once
// The container: header, metadata and tensor table of a GGUF file (docs/spec/gguf-reading.md 1), parsed from bytes in
// memory without copying them. Every length is checked against what is left of the file before it is used. No LibTorch
// here.

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gguf_types.h"

namespace arkit::gguf {

enum class ValueType : uint32_t {
  u8 = 0,
  i8 = 1,
  u16 = 2,
  i16 = 3,
  u32 = 4,
  i32 = 5,
  f32 = 6,
  boolean = 7,
  string = 8,
  array = 9,
  u64 = 10,
  i64 = 11,
  f64 = 12,
};

// One metadata value: a view of its bytes in the file, complete and of known layout.
struct Value {
  ValueType type{};
  ValueType element{};                 // arrays
  uint64_t count = 0;                  // arrays
  std::span<const std::byte> payload;  // scalar bytes, characters of a string, elements of an array
};

// Metadata by key. Getters return nothing when the key is absent and throw ErrorCode::input, naming key and file, when
// the value has another type.
class Metadata {
 public:
  explicit Metadata(std::string file) : file_(std::move(file)) {}
  bool insert(std::string_view key, const Value& value) { return values_.emplace(key, value).second; }

  [[nodiscard]] const std::string& file() const noexcept { return file_; }  // quoted, for messages
  [[nodiscard]] bool contains(std::string_view key) const { return values_.find(key) != values_.end(); }
  [[nodiscard]] const std::map<std::string, Value, std::less<>>& values() const noexcept { return values_; }
  [[nodiscard]] std::optional<int64_t> integer(std::string_view key) const;
  [[nodiscard]] std::optional<double> number(std::string_view key) const;  // the shortest decimal of an f32, as f64
  [[nodiscard]] std::optional<bool> boolean(std::string_view key) const;
  // Valid UTF-8, at most `most` bytes: looked at before anything is copied.
  [[nodiscard]] std::optional<std::string> text(std::string_view key, size_t most = size_t{1} << 16) const;
  // Elements of an array; views of the file, valid UTF-8.
  [[nodiscard]] std::vector<std::string_view> texts(std::string_view key) const;
  // Of at most `most` elements: looked at before they are widened.
  [[nodiscard]] std::vector<int64_t> integers(std::string_view key, uint64_t most) const;
  [[nodiscard]] std::vector<float> floats(std::string_view key) const;
  [[nodiscard]] bool is_array(std::string_view key) const;

 private:
  [[nodiscard]] const Value* find(std::string_view key) const;
  [[noreturn]] void wrong_type(std::string_view key, std::string_view expected) const;
  [[nodiscard]] const Value* find_array(std::string_view key, std::string_view expected) const;

  std::string file_;
  std::map<std::string, Value, std::less<>> values_;
};

struct TensorEntry {
  std::string name;
  const TypeInfo* type = nullptr;
  std::vector<int64_t> shape;  // PyTorch order: the contiguous dimension last
  int64_t offset = 0;          // from the start of the file
  int64_t bytes = 0;
  size_t part = 0;  // of a model in parts: the file it is in, from 0
};

struct File {
  Metadata metadata;
  std::vector<TensorEntry> tensors;  // in file order
  int64_t header_bytes = 0;          // metadata and tensor table
};

// Throws ErrorCode::input for anything malformed, ErrorCode::unsupported for versions, byte orders and tensor types
// arkit does not read. `what` names the file, quoted. The result refers to `bytes`.
[[nodiscard]] File parse_gguf(std::span<const std::byte> bytes, std::string what);

}  // namespace arkit::gguf
