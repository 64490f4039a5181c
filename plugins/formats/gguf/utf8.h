#pragma once
// UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF.

#include <string_view>

namespace arkit::gguf {

[[nodiscard]] bool is_utf8(std::string_view text) noexcept;

}  // namespace arkit::gguf
