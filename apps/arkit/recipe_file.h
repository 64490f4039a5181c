#pragma once
// Recipe files: the options of a command as TOML, every flag a key. They are data, not code: a recipe cannot name
// plugins to load.

#include <filesystem>
#include <string>
#include <string_view>

#include "commands.h"
#include "parsed.h"

namespace arkit::cli {

// The options a recipe's text sets, under canonical names. `where` names the file in errors. Throws ErrorCode::usage
// for an unknown key or a value of the wrong type, ErrorCode::input for text that is no TOML.
[[nodiscard]] Values read_recipe(std::string_view text, const std::string& where, const Command& command);
[[nodiscard]] Values read_recipe_file(const std::filesystem::path& path, const Command& command);

// Is it an option of one call, which a recipe does not hold?
[[nodiscard]] bool is_kept_out_of_recipes(const Option& option);

}  // namespace arkit::cli
