#include "jobs/source_hashes.h"

#include <set>

#include <arkit/error.h>

#include "util/sha256.h"

namespace arkit {
namespace fs = std::filesystem;

SourceHashes::SourceHashes(const ModelSource& source) {
  std::set<fs::path> paths;
  if (fs::is_regular_file(source.path())) {
    paths.insert(source.path());
  } else {
    for (const TensorInfo& tensor : source.weights().tensors()) paths.insert(source.path() / tensor.file);
  }
  for (const fs::path& path : paths)
    if (fs::is_regular_file(path)) files_.push_back({path, {}});
}

void SourceHashes::start() {
  if (!thread_.joinable()) thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

void SourceHashes::run(const std::stop_token& stop) noexcept {
  try {
    for (File& file : files_) file.sha256 = sha256_file(file.path, stop);
  } catch (...) {
    failure_ = std::current_exception();
  }
}

json::Array SourceHashes::wait() {
  start();
  thread_.join();
  if (failure_) std::rethrow_exception(failure_);
  json::Array files;
  for (const File& file : files_)
    files.push_back(json::Object{
        {"name", file.path.filename().string()}, {"bytes", fs::file_size(file.path)}, {"sha256", file.sha256}});
  return files;
}

}  // namespace arkit
