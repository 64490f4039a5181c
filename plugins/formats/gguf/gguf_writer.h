#pragma once
// Files being written, one or the parts of a model: every tensor goes to its place as it comes, and all of them appear
// when the last is there (docs/spec/gguf-writing.md 1).

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <arkit/part_file.h>

#include "gguf_key_values.h"

namespace arkit::gguf {

struct CutRule {
  std::optional<int64_t> bytes;    // most bytes of a part, keys and table included
  std::optional<int64_t> tensors;  // most tensors of a part
  std::string option;              // what the user calls it: "--split_max_size 200MB"
};

// How many tensors each part holds, in their order; one part = a file that is not cut. The first part has the keys and
// may have no tensor. Throws ErrorCode::usage where keys or a tensor alone are larger than a part may be, with the size
// that would do, and for more parts than the format counts.
[[nodiscard]] std::vector<size_t> cut(const KeyValues& keys, std::vector<StoredTensor> tensors, const CutRule& rule,
                                      int64_t alignment = kAlignment);

// Of all files with these parts.
[[nodiscard]] int64_t bytes_of(const KeyValues& keys, std::vector<StoredTensor> tensors,
                               const std::vector<size_t>& parts, int64_t alignment = kAlignment);

class Writer {
 public:
  // Makes "<stem>.gguf" or "<stem>-00001-of-0000N.gguf" in `folder` as part files with headers, and claims their space.
  // `parts`: what cut() says. `alignment` is that of the keys.
  Writer(const std::filesystem::path& folder, const std::string& stem, const KeyValues& keys,
         std::vector<StoredTensor> tensors, const std::vector<size_t>& parts, int64_t alignment = kAlignment);

  // `offset`: within the tensor, which is counted as in the constructor's list.
  void write(size_t tensor, int64_t offset, const void* data, int64_t bytes);
  void publish();

  [[nodiscard]] const StoredTensor& tensor(size_t index) const { return tensors_[index]; }
  [[nodiscard]] std::vector<std::filesystem::path> files() const;
  [[nodiscard]] int64_t bytes() const noexcept { return bytes_; }  // of all files

  // What the files will be called.
  [[nodiscard]] static std::vector<std::string> names(const std::string& stem, size_t parts);

 private:
  struct Target {
    PartFile file;
    int64_t data_at;
  };
  std::vector<StoredTensor> tensors_;
  std::vector<Target> targets_;
  std::vector<size_t> target_of_;  // by tensor
  int64_t bytes_ = 0;
};

}  // namespace arkit::gguf
