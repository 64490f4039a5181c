#pragma once
// Parts of a hub's files, by ranges.

#include <memory>

#include "hub/transfer.h"

namespace arkit::hub {

// What `context` refers to outlives it.
[[nodiscard]] std::unique_ptr<RandomAccess> open_remote(TransferContext context, const Snapshot& snapshot,
                                                        const RemoteFile& file);

}  // namespace arkit::hub
