#pragma once
// `arkit gguf show | set-metadata | split | merge`: looking into files and mending them, without a model. Tensors are
// copied as they are, byte for byte.

#include <deque>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <arkit/file_tool.h>

#include "gguf_file.h"
#include "gguf_value_text.h"

namespace arkit::gguf {

// Keys in the order of the file.
using Pairs = std::vector<std::pair<std::string, Value>>;
[[nodiscard]] Pairs pairs_of(const Metadata& metadata);

// "u32", "string", "array".
[[nodiscard]] std::string_view name_of(ValueType type);

// Keys as users change them; holds what it changes.
class EditedKeys {
 public:
  explicit EditedKeys(const Metadata& metadata);
  // "KEY=VALUE", "KEY=TYPE:VALUE" of a key that is new and no list of texts or booleans (gguf_value_text.h). Throws
  // ErrorCode::usage for what the key's type does not hold and for keys that say how files are laid out.
  void set(std::string_view assignment);
  void remove(std::string_view key);

  [[nodiscard]] const Pairs& pairs() const noexcept { return pairs_; }
  [[nodiscard]] Metadata metadata() const;

 private:
  [[nodiscard]] Value encoded(WrittenType type, std::string_view text, const std::string& where);

  std::string file_;
  Pairs pairs_;
  std::deque<WrittenValue> values_;
};

[[nodiscard]] json::Object show_file(const std::filesystem::path& file, const ShowFile& task);
[[nodiscard]] json::Object set_metadata(const std::filesystem::path& file, const SetMetadata& task);
[[nodiscard]] json::Object split_file(const std::filesystem::path& file, const SplitFile& task);
[[nodiscard]] json::Object merge_file(const std::filesystem::path& file, const MergeFile& task);

}  // namespace arkit::gguf
