#pragma once
// Parts of a hub's files, by ranges.

#include <functional>
#include <memory>

#include "hub/transfer.h"

namespace arkit::hub {

// What `context` refers to outlives it. `doubted` is called before a read() throws because the hub has another file than
// is listed.
[[nodiscard]] std::unique_ptr<RandomAccess> open_remote(TransferContext context, const Snapshot& snapshot,
                                                        const RemoteFile& file, std::function<void()> doubted);

}  // namespace arkit::hub
