#pragma once
// Scripts that complete commands and options in a shell, made from the table of commands.

#include <string>

namespace arkit::cli {

// For "bash", "zsh" or "fish". Throws ErrorCode::usage for another shell.
[[nodiscard]] std::string completions(const std::string& shell);

}  // namespace arkit::cli
