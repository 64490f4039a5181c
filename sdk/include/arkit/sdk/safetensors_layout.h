#pragma once
// The bytes of a safetensors file as the reference writes them (docs/spec/export-folder.md 3): 8 bytes with the length
// of the header, the header (JSON without blanks, padded with blanks to a multiple of 8), the data. Tensors lie in the
// order of descending dtype rank, then name, without gaps.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <c10/core/ScalarType.h>

namespace arkit::sdk {

// "BF16". Throws ErrorCode::unsupported for a dtype safetensors has no name for.
[[nodiscard]] std::string_view safetensors_dtype(at::ScalarType dtype);

struct FileTensor {
  std::string name;
  at::ScalarType dtype = at::ScalarType::Undefined;
  std::vector<int64_t> shape;
  int64_t bytes = 0;   // filled by layout_file
  int64_t offset = 0;  // from the start of the file; filled by layout_file
};

struct FileLayout {
  std::vector<FileTensor> tensors;  // in file order
  std::string header;               // the first bytes of the file, length field and padding included
  int64_t total_bytes = 0;          // of the file
};

// Everything about a file that can be known before its data: names are unique, metadata is {"format":"pt"}.
[[nodiscard]] FileLayout layout_file(std::vector<FileTensor> tensors);

// Product of the shape times the element size; throws ErrorCode::input when that does not fit 63 bits.
[[nodiscard]] int64_t tensor_bytes(const std::vector<int64_t>& shape, at::ScalarType dtype, std::string_view name);

}  // namespace arkit::sdk
