#pragma once
// A file of this machine behind the interface of remote ones. A file that gets shorter while it is read is an
// ErrorCode::input of read().

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include <arkit/export.h>

#include "hub/hub.h"

namespace arkit::hub {

// The user's: throws ErrorCode::input, `where` first, for what is no readable regular file.
[[nodiscard]] ARKIT_EXPORT std::unique_ptr<RandomAccess> open_local_file(const std::filesystem::path& path,
                                                                         std::string_view where = {});
// The cache's: what its disk refuses is an ErrorCode::resource.
[[nodiscard]] std::unique_ptr<RandomAccess> open_cached_file(const std::filesystem::path& path);

// The range of a RandomAccess::read of `what`. Throws ErrorCode::input when it is outside the file.
void require_inside(int64_t offset, int64_t count, int64_t size, const std::string& what);

}  // namespace arkit::hub
