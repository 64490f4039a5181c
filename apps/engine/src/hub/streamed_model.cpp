#include "hub/streamed_model.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <exception>
#include <fstream>
#include <mutex>
#include <system_error>
#include <utility>

#include <arkit/error.h>
#include <arkit/str.h>

#include "hub/disk.h"
#include "hub/hub.h"
#include "hub/transfer.h"
#include "hub/weight_header.h"
#include "io/late_file.h"
#include "io/weight_names.h"

namespace arkit::hub {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kFirstBytes = 64 << 10;  // asked for at first: nearly all headers are shorter

void link(const fs::path& from, const fs::path& to) {
  make_folder(to.parent_path());
  std::error_code error;
  fs::create_symlink(fs::absolute(from), to, error);
  if (error) fs::copy_file(from, to, error);  // a disk without links
  if (error) throw_disk(to, "linking", error.value());
}

}  // namespace

class StreamedModel::Shards {
 public:
  Shards(ModelTexts model, fs::path folder, Reporter& reporter)
      : reporter_(reporter), model_(std::move(model)), folder_(std::move(folder)) {}

  class Shard;
  std::shared_ptr<const void> use(Shard& shard);
  void bring(Shard& shard);
  void make_way();

  Reporter& reporter_;
  ModelTexts model_;
  const fs::path folder_;
  std::vector<std::shared_ptr<Shard>> all_;  // in the order of names

  mutable std::mutex mutex_;  // guards the state of shards, and what follows
  int64_t uses_ = 0;
  bool warned_ = false;
  std::exception_ptr failure_;
};

class StreamedModel::Shards::Shard final : public io::LateFile {
 public:
  Shard(Shards& owner, Entry listed, std::string head)
      : entry(std::move(listed)), header(std::move(head)), file(owner.folder_ / entry.path), owner_(owner) {
    errno = 0;
    std::ofstream out(file, std::ios::binary);
    out.write(header.data(), static_cast<std::streamsize>(header.size()));
    out.close();
    if (!out) throw_disk(file, "writing", errno);
  }

  [[nodiscard]] int64_t size() const override { return entry.size; }
  [[nodiscard]] std::shared_ptr<const void> use() override { return owner_.use(*this); }

  // The file stays the one that sources have mapped.
  void cut() {
    there = false;
    std::error_code error;
    fs::resize_file(file, header.size(), error);
    if (error) throw_disk(file, "cutting", error.value());
  }
  [[nodiscard]] bool has_header() const {
    std::ifstream in(file, std::ios::binary);
    std::string start(header.size(), '\0');
    return in.read(start.data(), static_cast<std::streamsize>(start.size())) && start == header;
  }
  [[nodiscard]] bool is_held() const { return hold.use_count() > 1; }

  const Entry entry;
  const std::string header;
  const fs::path file;
  bool there = false;
  int brought = 0;
  int64_t used = 0;  // when it was used last
  std::shared_ptr<const int> hold = std::make_shared<int>(0);

 private:
  Shards& owner_;
};

std::shared_ptr<const void> StreamedModel::Shards::use(Shard& shard) {
  const std::lock_guard lock(mutex_);
  if (failure_) std::rethrow_exception(failure_);  // threads that waited for it meanwhile
  if (!shard.there) try {
      make_way();
      bring(shard);
    } catch (...) {
      failure_ = std::current_exception();
      throw;
    }
  shard.used = ++uses_;
  return shard.hold;
}

// Those used last stay.
void StreamedModel::Shards::make_way() {
  std::vector<Shard*> there;
  for (const auto& shard : all_)
    if (shard->there) there.push_back(shard.get());
  std::sort(there.begin(), there.end(), [](const Shard* a, const Shard* b) { return a->used < b->used; });
  auto left = static_cast<int>(there.size());
  for (Shard* shard : there) {
    if (left < kMostShards) return;
    if (shard->is_held()) continue;
    shard->cut();
    --left;
  }
}

void StreamedModel::Shards::bring(Shard& shard) {
  const std::string what = describe(model_.snapshot.repo);
  if (shard.brought > 0 && !std::exchange(warned_, true))
    reporter_.warn(str("low_disk: '", shard.entry.path, "' is downloaded once more, as something of it is read again; ",
                       "without low_disk each file is downloaded once"));
  reporter_.info(str("downloading '", shard.entry.path, "'"));
  try {
    model_.hub->fetch_into(model_.snapshot, shard.entry.path, shard.file);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::interrupted) throw_if_interrupted();  // nothing of it is kept
    throw;
  }
  // It was read before there was a hash to check it by.
  if (!shard.has_header())
    throw_resource(
        str(what, ": '", shard.entry.path,
            "': the hub sent another start of it before the download; nothing of it is kept, run the command "
            "again"));
  shard.there = true;
  ++shard.brought;
}

StreamedModel::StreamedModel(ModelTexts texts, fs::path folder, Reporter& reporter)
    : shards_(std::make_shared<Shards>(std::move(texts), std::move(folder), reporter)) {
  Shards& shards = *shards_;
  ModelTexts& model = shards.model_;
  const std::string what = describe(model.snapshot.repo);
  for (const std::string& path : model.texts) link(model.folder / path, shards.folder_ / path);
  for (const Entry& file : model.weights) {
    if (io::is_whole_model_name(file.path))
      throw_unsupported(str(what, ": is one file ('", file.path, "'), and low_disk goes through safetensors shard by ",
                            "shard; leave low_disk out"));
    const fs::path cached = model.folder / file.path;
    const bool of_module = file.path.find('/') != std::string::npos;
    if (of_module) (void)model.hub->fetch(model.snapshot, file.path);  // travels with the model as it is
    if (of_module || has_size(cached, file.size)) {
      link(cached, shards.folder_ / file.path);
      continue;
    }
    if (file.sha256.empty())
      throw_unsupported(str(what, ": the hub tells no SHA-256 of '", file.path,
                            "', and low_disk trusts no shard without one; leave low_disk out"));
    const auto access = model.hub->open(model.snapshot, file.path);
    shards.all_.push_back(std::make_shared<Shards::Shard>(shards, file, weight_header(*access, kFirstBytes)));
    throw_if_interrupted();
  }
  for (const auto& shard : shards.all_) {
    late_.push_back(fs::canonical(shard->file));
    io::set_late_file(late_.back(), shard);
  }
}

StreamedModel::~StreamedModel() {
  for (const fs::path& path : late_) io::set_late_file(path, nullptr);
}

const fs::path& StreamedModel::texts() const {
  return shards_->model_.folder;
}

bool StreamedModel::brings(const std::string& name) const {
  return std::any_of(shards_->all_.begin(), shards_->all_.end(),
                     [&](const auto& shard) { return shard->entry.path == name; });
}

std::vector<StreamedModel::File> StreamedModel::checked() const {
  const std::lock_guard lock(shards_->mutex_);
  std::vector<File> files;
  for (const auto& shard : shards_->all_)
    if (shard->brought > 0) files.push_back({shard->entry.path, shard->entry.size, shard->entry.sha256});
  return files;
}

int64_t StreamedModel::bytes_to_come() const {
  const std::lock_guard lock(shards_->mutex_);
  std::vector<int64_t> sizes;
  int64_t bytes = 0;
  for (const auto& shard : shards_->all_) {
    sizes.push_back(shard->size());
    if (shard->there) bytes -= shard->size();
  }
  std::sort(sizes.rbegin(), sizes.rend());
  sizes.resize(std::min<size_t>(sizes.size(), kMostShards));
  for (const int64_t size : sizes) bytes += size;
  return bytes;
}

}  // namespace arkit::hub
