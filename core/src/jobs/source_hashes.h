#pragma once
// SHA-256 of a model's weight files for arkit-run.json, computed in a thread beside the work.

#include <exception>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include <arkit/export.h>
#include <arkit/json.h>
#include <arkit/model_source.h>

namespace arkit {

class ARKIT_INTERNAL SourceHashes {
 public:
  // Only files that tensors of `source` come from are looked at.
  explicit SourceHashes(const ModelSource& source);

  // Begins; the second call does nothing. A destroyed object stops.
  void start();

  // [{"name", "bytes", "sha256"}, ...] in the order of names, when all are done. Throws ErrorCode::input for a file
  // that cannot be read any more.
  [[nodiscard]] json::Array wait();

 private:
  struct File {
    std::filesystem::path path;
    std::string sha256;
  };

  void run(const std::stop_token& stop) noexcept;

  std::vector<File> files_;
  std::exception_ptr failure_;
  std::jthread thread_;  // last: it is joined before what it writes to goes
};

}  // namespace arkit
