#pragma once
// A file of this machine behind the interface of remote ones.

#include <filesystem>
#include <memory>

#include <arkit/export.h>

#include "hub/hub.h"

namespace arkit::hub {

// Throws ErrorCode::input, `where` first, for what is no readable regular file. A file that gets shorter while it is
// read is an ErrorCode::input of read().
[[nodiscard]] ARKIT_EXPORT std::unique_ptr<RandomAccess> open_local_file(const std::filesystem::path& path,
                                                                         std::string_view where = {});

}  // namespace arkit::hub
