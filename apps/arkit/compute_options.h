#pragma once
// Options of the commands that run a model.

#include "arguments.h"

namespace arkit::cli {

// Options: any options of arkit/engine/jobs.h with dtype and backend.
template <typename Options>
void read_compute_options(Options& options, const Arguments& arguments) {
  set_if(options.dtype, arguments.text("dtype"));
  set_if(options.backend, arguments.text("backend"));
}

// How much of the model stays in memory (arkit/engine/resident_jobs.h).
inline std::string read_resident(const Arguments& arguments) {
  return arguments.text("resident").value_or("auto");
}

}  // namespace arkit::cli
