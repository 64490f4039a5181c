#include <arkit/sdk/export_folder.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <deque>
#include <fstream>
#include <map>
#include <optional>
#include <set>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/json.h>
#include <arkit/log.h>
#include <arkit/part_file.h>
#include <arkit/sdk/safetensors_layout.h>
#include <arkit/str.h>

namespace arkit::sdk {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kPiece = int64_t{16} << 20;
constexpr std::string_view kSingleName = "model.safetensors";
constexpr std::string_view kIndexName = "model.safetensors.index.json";

bool ends_with(std::string_view text, std::string_view end) {
  return text.ends_with(end);
}

// "vocab.json", "1_Pooling/config.json": never out of the folder, never a hidden file.
bool is_inner_name(std::string_view name) {
  size_t begin = 0;
  while (true) {
    const size_t end = std::min(name.find('/', begin), name.size());
    if (end == begin || name[begin] == '.') return false;
    if (end == name.size()) return true;
    begin = end + 1;
  }
}

// Files that belong to the weights of an export: what an earlier one left of them must not be mixed with ours.
bool is_weight_file(const std::string& name) {
  static constexpr std::array<std::string_view, 3> kConfigs = {"quantization_config.json", "quantize_config.json",
                                                               "quant_config.json"};
  return ends_with(name, ".safetensors") || ends_with(name, ".safetensors.index.json") ||
         std::find(kConfigs.begin(), kConfigs.end(), name) != kConfigs.end();
}

std::string shard_name(size_t index, size_t count) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "model-%05zu-of-%05zu.safetensors", index + 1, count);
  return text.data();
}

std::vector<std::vector<FileTensor>> cut_into_shards(const std::vector<PlannedTensor>& tensors,
                                                     int64_t max_shard_bytes) {
  std::vector<std::vector<FileTensor>> shards;
  int64_t filled = 0;
  for (const PlannedTensor& tensor : tensors) {
    if (tensor.extra) continue;
    const int64_t bytes = tensor_bytes(tensor.shape, tensor.dtype, tensor.name);
    if (shards.empty() || (filled > 0 && filled + bytes > max_shard_bytes)) {
      shards.emplace_back();
      filled = 0;
    }
    shards.back().push_back({tensor.name, tensor.dtype, tensor.shape});
    filled += bytes;
  }
  return shards;
}

}  // namespace

struct ExportFolder::Impl {
  struct Place {
    PlannedTensor planned;
    PartFile* file = nullptr;
    int64_t offset = 0, bytes = 0;
    bool written = false;
    std::vector<bool> slices;  // written ones, of a tensor that comes in parts
    int64_t rows = 0;          // written ones, of a tensor that comes in rows
  };

  fs::path directory;
  std::unique_ptr<FolderLock> lock;
  std::deque<PartFile> shards;  // in order, extra tensors last; addresses are stable
  std::map<std::string, Place, std::less<>> places;
  std::vector<std::string> order;
  std::deque<std::pair<std::string, PartFile>> texts;
  std::vector<fs::path> appeared, made;  // files, and subfolders for them
  int64_t total_bytes = 0;
  bool finished = false;

  PartFile& open_shard(const std::string& name, std::vector<FileTensor> tensors) {
    const FileLayout layout = layout_file(std::move(tensors));
    PartFile& file = shards.emplace_back(directory / name);
    file.reserve(layout.total_bytes);
    file.write_at(0, layout.header.data(), static_cast<int64_t>(layout.header.size()));
    total_bytes += layout.total_bytes;
    for (const FileTensor& tensor : layout.tensors) {
      Place& place = places.at(tensor.name);
      place.file = &file;
      place.offset = tensor.offset;
      place.bytes = tensor.bytes;
    }
    return file;
  }

  // The index of docs/spec/export-folder.md 5; null when one file holds everything.
  std::string index_text() const {
    json::Object weight_map;
    int64_t elements = 0;
    int64_t bytes = 0;
    for (const std::string& name : order) {
      const Place& place = places.at(name);
      weight_map[name] = place.file->final_path().filename().string();
      elements += place.bytes / static_cast<int64_t>(c10::elementSize(place.planned.dtype));
      bytes += place.bytes;
    }
    json::Object metadata;
    metadata["format"] = "safetensors";
    metadata["total_shards"] = shards.size();
    metadata["total_parameters"] = elements;
    metadata["total_size"] = bytes;
    json::Object index;
    index["metadata"] = std::move(metadata);
    index["weight_map"] = std::move(weight_map);
    return json::dump(index, 2) + "\n";
  }

  PartFile& text(const std::string& name) {
    ARKIT_CHECK(!finished, "the export is finished");
    ARKIT_CHECK(is_inner_name(name), str("'", printable(name), "' is not the name of a file in the folder"));
    make_folder_of(directory / name);
    const bool twice = std::any_of(texts.begin(), texts.end(), [&](const auto& entry) { return entry.first == name; });
    ARKIT_CHECK(!twice, str("file '", name, "' is added twice"));
    return texts.emplace_back(name, PartFile(directory / name)).second;
  }

  void appear(PartFile& file) {
    file.commit();
    appeared.push_back(file.final_path().lexically_relative(directory));
  }

  void make_folder_of(const fs::path& file) {
    const fs::path folder = file.parent_path();
    std::error_code error;
    if (fs::is_directory(folder, error)) return;
    fs::create_directories(folder, error);
    if (error) throw_io(folder, "creating the folder", error.value());
    made.push_back(folder);
  }

  // Of an export that did not come to its end: folders that it made and that are empty.
  void remove_made_folders() {
    std::error_code ignored;
    for (auto folder = made.rbegin(); folder != made.rend(); ++folder)
      for (fs::path path = *folder; path != directory && fs::is_empty(path, ignored) && fs::remove(path, ignored);)
        path = path.parent_path();
  }

  // Weight files of an earlier export that ours do not replace; its index first, so that it never names our files.
  void remove_earlier_weights() {
    std::set<std::string> ours;
    for (const PartFile& shard : shards) ours.insert(shard.final_path().filename().string());
    for (const auto& [name, file] : texts) ours.insert(name);
    std::error_code ignored;
    fs::remove(directory / kIndexName, ignored);
    std::vector<fs::path> stale;
    for (const fs::directory_entry& entry : fs::directory_iterator(directory)) {
      const std::string name = entry.path().filename().string();
      if (is_weight_file(name) && !ours.contains(name)) stale.push_back(entry.path());
    }
    for (const fs::path& path : stale) fs::remove(path);
  }
};

ExportFolder::ExportFolder(fs::path directory, const std::vector<PlannedTensor>& tensors, int64_t max_shard_bytes,
                           const std::string& extra_file)
    : impl_(std::make_unique<Impl>()) {
  Impl& self = *impl_;
  self.directory = std::move(directory);
  std::error_code error;
  fs::create_directories(self.directory, error);
  if (error) throw_io(self.directory, "creating the folder", error.value());
  (void)clear_killed_run(self.directory);
  self.lock = std::make_unique<FolderLock>(self.directory);

  std::vector<FileTensor> extra;
  for (const PlannedTensor& tensor : tensors) {
    const bool added = self.places.emplace(tensor.name, Impl::Place{.planned = tensor}).second;
    ARKIT_CHECK(added, str("tensor '", tensor.name, "' is planned twice"));
    self.order.push_back(tensor.name);
    if (tensor.extra) extra.push_back({tensor.name, tensor.dtype, tensor.shape});
  }
  std::vector<std::vector<FileTensor>> shards = cut_into_shards(tensors, max_shard_bytes);
  for (size_t i = 0; i < shards.size(); ++i)
    self.open_shard(shards.size() == 1 ? std::string(kSingleName) : shard_name(i, shards.size()), std::move(shards[i]));
  if (!extra.empty()) self.open_shard(extra_file, std::move(extra));
}

ExportFolder::~ExportFolder() {
  if (impl_ == nullptr || impl_->finished) return;
  // An interrupted finish() leaves nothing that could be taken for a model.
  std::error_code ignored;
  for (const fs::path& name : impl_->appeared) fs::remove(impl_->directory / name, ignored);
  impl_->texts.clear();
  impl_->remove_made_folders();
}

const PlannedTensor* ExportFolder::planned(std::string_view name) const {
  const auto found = impl_->places.find(name);
  return found == impl_->places.end() ? nullptr : &found->second.planned;
}

bool ExportFolder::written(std::string_view name) const {
  const auto found = impl_->places.find(name);
  return found != impl_->places.end() && found->second.written;
}

std::vector<std::string> ExportFolder::unwritten() const {
  std::vector<std::string> names;
  for (const std::string& name : impl_->order)
    if (!impl_->places.at(name).written) names.push_back(name);
  return names;
}

void ExportFolder::write(std::string_view name, const at::Tensor& tensor, const std::function<void()>& after_piece) {
  const auto found = impl_->places.find(name);
  ARKIT_CHECK(found != impl_->places.end(), str("tensor '", name, "' is not part of this export"));
  Impl::Place& place = found->second;
  ARKIT_CHECK(!place.written, str("tensor '", name, "' is written twice"));
  ARKIT_CHECK(tensor.scalar_type() == place.planned.dtype && tensor.sizes() == at::IntArrayRef(place.planned.shape),
              arkit::str("tensor '", name, "' is ", tensor.scalar_type(), " ", tensor.sizes(), " but ",
                         place.planned.dtype, " ", at::IntArrayRef(place.planned.shape), " was planned"));
  const at::Tensor contiguous = tensor.contiguous();
  const auto* data = static_cast<const char*>(contiguous.const_data_ptr());
  const int64_t piece = after_piece ? kPiece : std::max<int64_t>(place.bytes, 1);
  for (int64_t done = 0; done < place.bytes; done += piece) {
    place.file->write_at(place.offset + done, data + done, std::min(piece, place.bytes - done));
    if (after_piece) after_piece();
  }
  place.written = true;
}

void ExportFolder::write_slice(std::string_view name, int64_t index, const at::Tensor& tensor) {
  const auto found = impl_->places.find(name);
  ARKIT_CHECK(found != impl_->places.end(), str("tensor '", name, "' is not part of this export"));
  Impl::Place& place = found->second;
  const at::IntArrayRef whole = place.planned.shape;
  ARKIT_CHECK(!whole.empty() && index >= 0 && index < whole[0], str("tensor '", name, "' has no part ", index));
  ARKIT_CHECK(tensor.scalar_type() == place.planned.dtype && tensor.sizes() == whole.slice(1),
              arkit::str("part ", index, " of tensor '", name, "' is ", tensor.scalar_type(), " ", tensor.sizes(),
                         " but ", place.planned.dtype, " ", whole.slice(1), " was planned"));
  ARKIT_CHECK(!slice_written(name, index), str("part ", index, " of tensor '", name, "' is written twice"));
  const int64_t bytes = place.bytes / whole[0];
  const at::Tensor contiguous = tensor.contiguous();
  place.file->write_at(place.offset + index * bytes, static_cast<const char*>(contiguous.const_data_ptr()), bytes);
  place.slices.resize(static_cast<size_t>(whole[0]), false);
  place.slices[static_cast<size_t>(index)] = true;
  place.written = std::find(place.slices.begin(), place.slices.end(), false) == place.slices.end();
}

void ExportFolder::write_rows(std::string_view name, int64_t first_row, const at::Tensor& rows) {
  const auto found = impl_->places.find(name);
  ARKIT_CHECK(found != impl_->places.end(), str("tensor '", name, "' is not part of this export"));
  Impl::Place& place = found->second;
  const at::IntArrayRef whole = place.planned.shape;
  ARKIT_CHECK(!place.written && rows.dim() == static_cast<int64_t>(whole.size()) && rows.dim() > 0 &&
                  rows.scalar_type() == place.planned.dtype && rows.sizes().slice(1) == whole.slice(1) &&
                  first_row >= 0 && rows.size(0) <= whole[0] - first_row,
              str("tensor '", name, "' has no such rows"));
  const at::Tensor contiguous = rows.contiguous();
  place.file->write_at(place.offset + first_row * (place.bytes / whole[0]),
                       static_cast<const char*>(contiguous.const_data_ptr()),
                       static_cast<int64_t>(contiguous.nbytes()));
  place.rows += rows.size(0);
  place.written = place.rows == whole[0];
}

bool ExportFolder::slice_written(std::string_view name, int64_t index) const {
  const auto found = impl_->places.find(name);
  if (found == impl_->places.end()) return false;
  const std::vector<bool>& slices = found->second.slices;
  return static_cast<size_t>(index) < slices.size() && slices[static_cast<size_t>(index)];
}

void ExportFolder::add_text(const std::string& name, std::string content) {
  impl_->text(name).write_at(0, content.data(), static_cast<int64_t>(content.size()));
  impl_->total_bytes += static_cast<int64_t>(content.size());
}

void ExportFolder::add_copy(const std::string& name, const fs::path& from) {
  std::ifstream in(from, std::ios::binary);
  if (!in) throw_input(str("'", from.string(), "': cannot be read; it is copied into the export"));
  PartFile& out = impl_->text(name);
  std::vector<char> buffer(size_t{1} << 20);
  int64_t at = 0;
  while (in) {
    in.read(buffer.data(), static_cast<std::streamsize>(buffer.size()));
    out.write_at(at, buffer.data(), in.gcount());
    at += in.gcount();
  }
  if (in.bad()) throw_input(str("'", from.string(), "': reading failed after ", at, " bytes"));
  impl_->total_bytes += at;
}

std::vector<fs::path> ExportFolder::finish() {
  Impl& self = *impl_;
  ARKIT_CHECK(!self.finished, "finish() is called once");
  for (const auto& [name, place] : self.places)
    ARKIT_CHECK(place.written, str("tensor '", name, "' was never written"));

  const bool indexed = self.shards.size() > 1;
  std::optional<PartFile> index;
  if (indexed) {
    const std::string text = self.index_text();
    index.emplace(self.directory / kIndexName);
    index->write_at(0, text.data(), static_cast<int64_t>(text.size()));
    index->sync();
    self.total_bytes += static_cast<int64_t>(text.size());
  }
  for (auto& [name, file] : self.texts) file.sync();
  for (PartFile& shard : self.shards) {
    throw_if_interrupted();
    shard.sync();
  }
  self.remove_earlier_weights();
  for (auto& [name, file] : self.texts) self.appear(file);
  for (PartFile& shard : self.shards) self.appear(shard);
  if (index) self.appear(*index);
  for (const fs::path& folder : self.made) sync_folder(folder);
  sync_folder(self.directory);
  self.finished = true;
  self.lock.reset();
  return self.appeared;
}

int64_t ExportFolder::bytes() const noexcept {
  return impl_->total_bytes;
}

}  // namespace arkit::sdk
