#pragma once
// Help texts, made from the table in commands.cpp.

#include <string>

#include "commands.h"

namespace arkit::cli {

[[nodiscard]] std::string overview();
[[nodiscard]] std::string command_help(const Command& command);

}  // namespace arkit::cli
