#pragma once
// The header of a safetensors file (docs/spec/checkpoints.md 1): u64 length N, N bytes of JSON, data. Works on bytes in
// memory, so that it can be fuzzed.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <c10/core/ScalarType.h>

namespace arkit::io {

struct SafetensorsEntry {
  std::string name;
  std::string stored_type;  // "BF16"
  at::ScalarType dtype = at::ScalarType::Undefined;
  std::vector<int64_t> shape;
  int64_t begin = 0;  // offsets from the start of the file
  int64_t end = 0;
};

// Entries by offset. Checked: N and the offsets against the file's size, end - begin against shape and dtype, tensors
// contiguous from the first data byte to the last, names unique. Throws ErrorCode::input, or ErrorCode::unsupported for
// a dtype arkit does not read; `what` names the file.
[[nodiscard]] std::vector<SafetensorsEntry> parse_safetensors_header(std::span<const std::byte> file,
                                                                     std::string_view what);

}  // namespace arkit::io
