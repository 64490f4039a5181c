#pragma once
// AutoRound's environment variables. What they say holds where the command line says nothing, and before an options
// file. The table is shown in docs/COMMAND_LINE.md, and a test holds the two together.

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "commands.h"
#include "parsed.h"

namespace arkit::cli {

struct Variable {
  enum class Kind {
    option,   // `says`: the option it stands for
    mix,      // the same for an option of AutoScheme
    other,    // honoured elsewhere; `says` how
    ignored,  // would change results and is not here; `says` what to do
  };
  std::string_view name;
  Kind kind;
  std::string_view says;
  std::string_view usual = {};  // of `ignored`: the value that asks for nothing
};

[[nodiscard]] std::span<const Variable> variables();

// Adds the options that variables stand for to what was typed, and says in `notes` what is not honoured. Throws
// ErrorCode::usage for a value that the option does not take.
void apply_variables(const Command& command, Values& values, std::vector<std::string>& notes);

// AR_OMP_NUM_THREADS as the libraries read it; before they are opened. Throws ErrorCode::usage.
void apply_thread_count();

}  // namespace arkit::cli
