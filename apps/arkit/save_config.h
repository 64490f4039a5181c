#pragma once
// --save_config: the resolved options of a command as the TOML file that --config reads.

#include <filesystem>
#include <string>

#include <arkit/json.h>

#include "commands.h"

namespace arkit::cli {

// `resolved` holds options by name, as arkit/engine/resolved_options.h makes them; null and empty ones are left out,
// and so is what the command does not take.
[[nodiscard]] std::string recipe_text(const Command& command, const json::Object& resolved);

// Throws ErrorCode::resource.
void save_config(const std::filesystem::path& path, const Command& command, const json::Object& resolved);

}  // namespace arkit::cli
