#pragma once
// Manual pages in roff's man macros, made from the table of commands.

#include <filesystem>
#include <string>

#include "commands.h"

namespace arkit::cli {

// arkit(1).
[[nodiscard]] std::string manual_page();
// arkit-quantize(1), arkit-eval-ppl(1) ...
[[nodiscard]] std::string manual_page(const Command& command);

// Writes all of them into a folder. Throws ErrorCode::resource.
void write_manual(const std::filesystem::path& folder);

}  // namespace arkit::cli
