#pragma once
// The seam between the two halves of the command line: what was typed, checked and put into words. No LibTorch, no
// core.

#include <map>
#include <string>
#include <vector>

namespace arkit::cli {

using Values = std::map<std::string, std::vector<std::string>, std::less<>>;

struct ParsedCommand {
  std::string command;                   // "quantize", "eval ppl"
  std::vector<std::string> positionals;  // as many as the command wants
  Values values;                         // canonical option name -> values; a flag has "true" or "false"
  std::string command_line;              // as typed, quoted for a shell
  std::string program_dir;               // folder of the `arkit` executable, resolved
  std::vector<std::string> notes;        // what to say before the command runs, a line each
};

// What libarkit_cli.so offers: runs the command and returns the exit code. Never throws.
extern "C" int arkit_cli_run(const ParsedCommand& command);
using RunFunction = int (*)(const ParsedCommand&);

}  // namespace arkit::cli
