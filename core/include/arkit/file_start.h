#pragma once
// What the first bytes of a file give away before anybody tries to understand the rest.

#include <string_view>

#include <arkit/export.h>

namespace arkit {

inline constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";  // UTF-8's, which some editors put before a text

// A text as it is meant.
[[nodiscard]] constexpr std::string_view without_byte_order_mark(std::string_view text) {
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  return text;
}

// Throws ErrorCode::input where `content`, the file's bytes or its first 64, is the note that Git leaves in place of a
// large file; `what` opens the message.
ARKIT_EXPORT void refuse_lfs_pointer(std::string_view content, std::string_view what);

}  // namespace arkit
