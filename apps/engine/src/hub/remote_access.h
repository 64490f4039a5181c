#pragma once
// Parts of files: from the hub by ranges, or from the cache.

#include <memory>

#include "hub/transfer.h"

namespace arkit::hub {

// What `context` refers to outlives it.
[[nodiscard]] std::unique_ptr<RandomAccess> open_remote(TransferContext context, const Snapshot& snapshot,
                                                        const RemoteFile& file);
[[nodiscard]] std::unique_ptr<RandomAccess> open_local(const std::filesystem::path& file);

}  // namespace arkit::hub
