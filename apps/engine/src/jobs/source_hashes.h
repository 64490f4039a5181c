#pragma once
// SHA-256 of a model's weight files for arkit-run.json, computed in a thread beside the work. The thread reads the
// files from end to end, which brings them into the page cache just before the work needs them: each byte is read from
// the disk once.

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <arkit/export.h>
#include <arkit/json.h>
#include <arkit/log.h>
#include <arkit/model_source.h>

namespace arkit {

// The weight files of a source in the order of names, those of packed layers included. `num_blocks`: only the files
// that hold something of the first blocks.
[[nodiscard]] ARKIT_INTERNAL std::vector<std::filesystem::path> weight_files(const ModelSource& source,
                                                                             std::optional<int64_t> num_blocks);

class ARKIT_INTERNAL SourceHashes {
 public:
  explicit SourceHashes(const std::vector<std::filesystem::path>& files);

  // Begins; the second call does nothing. A destroyed object stops. `paced`: the reader keeps close to where pace()
  // says the work is.
  void start(bool paced = false);

  // The work comes to the bytes begin .. end of all files put behind each other. Waits while that is further ahead of
  // the reader than the page cache can be trusted to keep.
  void pace(int64_t begin, int64_t end);

  // [{"name", "bytes", "sha256"}, ...] in the order of names, when all are done. Throws ErrorCode::input for a file
  // that cannot be read any more, ErrorCode::interrupted.
  [[nodiscard]] json::Array wait(Reporter& reporter);

 private:
  struct File {
    std::filesystem::path path;
    int64_t bytes = 0;
    std::string sha256;
  };

  void run(const std::stop_token& stop) noexcept;
  void read(File& file, const std::stop_token& stop);
  void advance(int64_t bytes, const std::stop_token& stop);

  std::vector<File> files_;
  std::mutex mutex_;  // guards what follows up to thread_
  std::condition_variable_any moved_;
  int64_t read_ = 0;  // bytes behind the reader
  int64_t work_ = 0;  // where the work ends
  bool paced_ = false, finished_ = false;
  std::exception_ptr failure_;
  std::jthread thread_;  // last: it is joined before what it writes to goes
};

}  // namespace arkit
