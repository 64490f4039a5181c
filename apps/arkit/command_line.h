#pragma once
// argv -> ParsedCommand. Everything wrong with the command line is found here, before the core is loaded.

#include <string>
#include <vector>

#include "called_as.h"
#include "commands.h"
#include "parsed.h"

namespace arkit::cli {

struct Request {
  enum class Kind { run, help, version, completions, manual } kind = Kind::run;
  const Command* command = nullptr;  // help, manual: null = the overview
  ParsedCommand parsed;              // run, completions, manual
  std::string group;                 // help: of the commands that begin with this word
};

// `arguments` without the program's name, under which it has ways of its own. Throws ErrorCode::usage, and
// ErrorCode::unsupported for what AutoRound has and arkit has not.
[[nodiscard]] Request parse_command_line(const std::vector<std::string>& arguments,
                                         const CalledAs& program = called_as("arkit"));

// Checks one value against its option's type and choices; throws ErrorCode::usage, `where` first.
void check_value(const Option& option, const std::string& value, const std::string& where);

// Splits the values of list options, settles flags and their negations (--sym=false is --asym) and refuses
// contradictions (--sym --asym).
void tidy_values(const Command& command, Values& values, const std::string& where);

}  // namespace arkit::cli
