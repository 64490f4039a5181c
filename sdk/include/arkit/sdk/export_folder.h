#pragma once
// The folder of an export: safetensors shards, index and texts, written in constant memory and appearing atomically.
//
// All tensors are known before the first arrives (the plan and the source's headers say everything about them), so the
// header and the place of every tensor are laid out at once: a tensor goes straight to its final offset with one
// pwrite, whatever the order of arrival, and nothing is copied or held back. The space is claimed from the file system
// at the start, so that a disk too small is found before hours of tuning and not after. The order inside a file is the
// reference's (docs/spec/export-folder.md 3), which makes files comparable byte for byte.
//
// Files are written as "NAME.part", synced, and renamed in finish(): texts first, then shards, the file that makes the
// model loadable (the index, or the only shard) last. Destroyed before that, the folder holds none of them.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

namespace arkit::sdk {

struct PlannedTensor {
  std::string name;
  at::ScalarType dtype = at::ScalarType::Undefined;
  std::vector<int64_t> shape;
  bool extra = false;  // belongs to the file of its own: no model class loads it (docs/spec/export-folder.md 6)
};

class ExportFolder {
 public:
  // Shards are filled in the order of `tensors`, a new one begins where the next tensor would exceed `max_shard_bytes`
  // (docs/spec/export-folder.md 5). Throws ErrorCode::resource when another run writes into `directory`, or space is
  // missing.
  ExportFolder(std::filesystem::path directory, const std::vector<PlannedTensor>& tensors, int64_t max_shard_bytes,
               const std::string& extra_file = "model_extra_tensors.safetensors");
  ~ExportFolder();
  ExportFolder(const ExportFolder&) = delete;
  ExportFolder& operator=(const ExportFolder&) = delete;

  [[nodiscard]] const PlannedTensor* planned(std::string_view name) const;  // null = not part of this export
  [[nodiscard]] bool written(std::string_view name) const;
  [[nodiscard]] std::vector<std::string> unwritten() const;  // in the order planned

  // Each planned tensor once. Dtype and shape must be the planned ones. `after_piece` is called whenever some MiB of it
  // are written: whoever lends mapped memory can give its pages back, so that a tensor of any size takes little.
  void write(std::string_view name, const at::Tensor& tensor, const std::function<void()>& after_piece = {});
  // Part `index` of a planned tensor, cut along its first dimension; each part once, and all of them.
  void write_slice(std::string_view name, int64_t index, const at::Tensor& tensor);
  // Rows first_row .. of a planned tensor; each row once, in any order, and all of them.
  void write_rows(std::string_view name, int64_t first_row, const at::Tensor& rows);
  [[nodiscard]] bool slice_written(std::string_view name, int64_t index) const;
  // A small file under a plain name or in a subfolder ("1_Pooling/config.json"), each once. Texts appear in the order
  // given.
  void add_text(const std::string& name, std::string content);
  // A copy of `from`, made at once.
  void add_copy(const std::string& name, const std::filesystem::path& from);

  // All tensors are written. Replaces what an earlier export left under the same names and removes its other weight
  // files. Returns the names of all files, in the order they appeared.
  std::vector<std::filesystem::path> finish();
  [[nodiscard]] int64_t bytes() const noexcept;  // of all files; valid after finish()

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace arkit::sdk
