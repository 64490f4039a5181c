#pragma once
// From what the front parsed to the struct of a command, by its description.

#include <string>
#include <variant>

#include <arkit/engine/option_table.h>
#include <arkit/str.h>

#include "arguments.h"

namespace arkit::cli {

// What was given for a row, under either name of a pair; monostate = nothing was.
[[nodiscard]] OptionValue given_value(const OptionRow& row, const Arguments& arguments);

// Sets the fields of the options that were given. Throws ErrorCode::usage for a number that does not fit.
template <typename Options>
void read_options(Options& options, const Arguments& arguments) {
  for (const OptionOf<Options>& one : option_table<Options>())
    if (const OptionValue value = given_value(one.row, arguments); !std::holds_alternative<std::monostate>(value))
      one.set(options, value, str("--", one.row.name));
}

// How much of the model stays in memory (arkit/engine/resident_jobs.h).
[[nodiscard]] inline std::string read_resident(const Arguments& arguments) {
  ResidentOptions options;
  read_options(options, arguments);
  return options.resident;
}

}  // namespace arkit::cli
