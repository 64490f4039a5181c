#pragma once
// A model in one file or in several: "stem-00001-of-00003.gguf" and so on (docs/spec/gguf-writing.md 1). Keys are those
// of the first part, tensors those of all.

#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/mapped_file.h>

#include "gguf_file.h"

namespace arkit::gguf {

inline constexpr int64_t kMostParts = 65535;  // what split.count holds

struct PartName {
  std::string stem;
  int64_t number = 1, count = 1;  // from 1
};
[[nodiscard]] std::string part_name(std::string_view stem, int64_t number, int64_t count);
[[nodiscard]] std::optional<PartName> read_part_name(std::string_view file_name);  // null = another name

struct Parts {
  explicit Parts(const std::filesystem::path& path);  // of this file alone

  std::vector<std::unique_ptr<MappedFile>> maps;  // in order
  File file;                                      // TensorEntry::part says in which map a tensor is

  [[nodiscard]] const MappedFile& map_of(const TensorEntry& tensor) const { return *maps[tensor.part]; }
};

// `path`: the file, or any of its parts. Throws ErrorCode::input for a part that is missing or does not belong to the
// others, and what parse_gguf throws.
[[nodiscard]] Parts open_parts(const std::filesystem::path& path);

// The first part in a folder that holds one model in parts and no other file of this kind; empty = it does not.
[[nodiscard]] std::filesystem::path first_part_in(const std::filesystem::path& folder);

}  // namespace arkit::gguf
