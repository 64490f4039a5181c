#pragma once
// Help texts, made from the table in commands.cpp.

#include <span>
#include <string>
#include <string_view>

#include "commands.h"

namespace arkit::cli {

// What holds for all commands, for the overview and the manual.
struct Fact {
  std::string_view name, text;
};
[[nodiscard]] std::span<const Fact> environment_variables();
[[nodiscard]] std::span<const Fact> exit_codes();

[[nodiscard]] std::string overview();
[[nodiscard]] std::string command_help(const Command& command);
// The commands that begin with a word: "eval".
[[nodiscard]] std::string group_help(std::string_view group);

}  // namespace arkit::cli
