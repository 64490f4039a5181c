#pragma once
// Every command of `arkit` with its options, as the command line sees them: help texts, completions, manual pages,
// parsing, options files and did-you-mean are made from it. What an option is stands in one row of
// <arkit/engine/option_table.h>. Names are written with '_'; users may type '-' instead.

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/engine/option_table.h>

namespace arkit::cli {

using Type = OptionType;

// One name of an option: a pair of flags is two of them, which exclude each other.
struct Option {
  std::string_view name;
  Type type;
  std::string_view group;       // heading in --help
  std::string_view value_name;  // "N"; empty for flags
  std::string default_value;    // what the command uses; empty = none
  std::string_view absent;      // or what leaving it out means
  std::string_view help;
  std::string_view aliases;   // other names, separated by blanks; one letter = short option
  std::string_view excludes;  // an option that cannot be given together with this one
  std::string_view choices;   // allowed values, separated by blanks; empty = any
  OptionRow row;              // where all of it comes from
};

struct Command {
  std::string_view name;        // "quantize", "eval ppl"
  std::string_view positional;  // "MODEL"; "" = none; "[DIR]" in brackets = may be left out; "..." = more of them
  std::string_view summary;
  std::vector<Option> options;
  std::string_view examples;      // one a line
  std::string_view choices = {};  // what the first positional argument may be, separated by blanks; empty = anything
};

[[nodiscard]] std::span<const Command> commands();
[[nodiscard]] const Command* find_command(std::string_view name);
[[nodiscard]] std::span<const Option> common_options();  // accepted by every command

// An option of `command` or a common one, by name or alias; null = unknown.
[[nodiscard]] const Option* find_option(const Command& command, std::string_view name);
[[nodiscard]] std::vector<std::string> option_names(const Command& command);

// The headings of a command's options in their order.
[[nodiscard]] std::vector<std::string_view> option_groups(const Command& command);

// Is it one of the words, which are separated by blanks, as aliases and choices are?
[[nodiscard]] bool is_among(std::string_view words, std::string_view word);

// May it be given several times? In TOML: may it be a list?
[[nodiscard]] bool repeatable(const Option& option);
// Does it hold words with commas between?
[[nodiscard]] bool is_list(const Option& option);
// Is it one of two flags that are each other's negation?
[[nodiscard]] bool is_pair(const Option& option);

}  // namespace arkit::cli
