#pragma once
// Opens libarkit_cli.so (and with it the core and LibTorch) beside the executable.

#include <filesystem>

#include "parsed.h"

namespace arkit::cli {

[[nodiscard]] std::filesystem::path program_folder();

// Throws ErrorCode::resource with the loader's words and what to do.
[[nodiscard]] RunFunction load_cli(const std::filesystem::path& program_dir);

}  // namespace arkit::cli
