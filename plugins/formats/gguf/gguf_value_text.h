#pragma once
// Values of keys as users write them: a number, a text, a list in JSON.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "gguf_file.h"

namespace arkit::gguf {

struct WrittenType {
  ValueType type{};
  ValueType element{};  // of an array
};

// "u32", "string[]". Nothing for other words.
[[nodiscard]] std::optional<WrittenType> find_written_type(std::string_view name);

// As it lies in a file; Value is a view of one.
struct WrittenValue {
  WrittenType type;
  uint64_t count = 0;  // of an array
  std::string payload;
};

// `text`: "5", "true", a text, of an array JSON; "@FILE" is what that file holds ("@@..." a text that begins with "@").
// Throws ErrorCode::usage for what the type does not hold and for what is empty.
[[nodiscard]] WrittenValue written_value(WrittenType type, std::string_view text, const std::string& where);

// The type of elements that a list in JSON can only have: string or bool. Nothing for other texts.
[[nodiscard]] std::optional<WrittenType> type_of_list(std::string_view text, const std::string& where);

}  // namespace arkit::gguf
