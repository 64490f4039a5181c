#pragma once
// Every command and option of `arkit` in one table: name, type, help, default. Help texts, parsing, recipe files and
// did-you-mean are made from it. Names are written with '_'; users may type '-' instead.

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace arkit::cli {

enum class Type {
  flag,     // present or absent; "true"/"false" in recipe files and after '='
  text,     // anything
  integer,  // a whole number
  number,   // a real number
  bytes,    // 5GB, 1.5GiB, 200MB, 64KB or a plain number; 1GB = 1000^3 (docs/spec/export-folder.md 5), 1GiB = 1024^3
  list,     // comma separated, or given several times
  path,     // as text; repeatable
};

struct Option {
  std::string_view name;
  Type type;
  std::string_view group;          // heading in --help
  std::string_view value_name;     // "N"; empty for flags
  std::string_view default_value;  // what the command uses; empty = none. "(...)" is a note for --help, not a value
  std::string_view help;
  std::string_view aliases = {};   // other names, separated by blanks; one letter = short option
  std::string_view excludes = {};  // an option that cannot be given together with this one
  std::string_view choices = {};   // allowed values, separated by blanks; empty = any
};

struct Command {
  std::string_view name;        // "quantize", "eval ppl"
  std::string_view positional;  // "MODEL"; "" = none; "[DIR]" in brackets = may be left out
  std::string_view summary;
  std::span<const Option> options;
  std::string_view examples;  // one a line
};

[[nodiscard]] std::span<const Command> commands();
[[nodiscard]] const Command* find_command(std::string_view name);
[[nodiscard]] std::span<const Option> common_options();  // accepted by every command

// An option of `command` or a common one, by name or alias; null = unknown.
[[nodiscard]] const Option* find_option(const Command& command, std::string_view name);
[[nodiscard]] std::vector<std::string> option_names(const Command& command);

// True when `default_value` is a real value that a recipe file may state.
[[nodiscard]] bool has_fixed_default(const Option& option);

}  // namespace arkit::cli
