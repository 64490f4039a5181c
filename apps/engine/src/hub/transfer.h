#pragma once
// One file from a hub into its place in the cache: resumed, checked, and only then under its name.

#include <filesystem>
#include <string>

#include <arkit/error.h>

#include "hub/cache.h"
#include "hub/http.h"
#include "hub/protocol.h"

namespace arkit::hub {

struct TransferContext {
  const Settings& settings;
  HttpPool& pool;
  Voice& voice;
  Protocol& protocol;
  Cache& cache;
};

// ErrorCode::resource: the hub has another file than is listed.
class WrongFile final : public Error {
 public:
  explicit WrongFile(const std::string& what) : Error(ErrorCode::resource, what) {}
};

// The file's path in the cache. What arrives is written to place().incomplete, which stays when the transfer breaks
// off and is gone on with the next time; a complete file whose size or hash is not the one listed is thrown away and
// fetched once more. Throws as Hub::fetch says, WrongFile among it. Thread-safe, also between processes.
std::filesystem::path transfer(TransferContext context, const Snapshot& snapshot, const RemoteFile& file);

// The file into `to`, as Hub::fetch_into says; nobody else writes there.
void transfer_into(TransferContext context, const Snapshot& snapshot, const RemoteFile& file,
                   const std::filesystem::path& to);

// A file of that size; what was cut short by others is not taken for whole.
[[nodiscard]] bool has_size(const std::filesystem::path& path, int64_t size);

}  // namespace arkit::hub
