#pragma once
// Options of the commands that compute on windows of a text.

#include "arguments.h"
#include "compute_options.h"

namespace arkit::cli {

// Options: EvalOptions or DiffOptions.
template <typename Options>
void read_window_options(Options& options, const Arguments& arguments) {
  set_if(options.text_file, arguments.text("text"));
  set_if(options.ids_file, arguments.text("ids"));
  set_if(options.seqlen, arguments.integer("seqlen"));
  options.max_windows = arguments.integer("max_windows");
  set_if(options.batch_size, arguments.integer("batch_size"));
  read_compute_options(options, arguments);
}

}  // namespace arkit::cli
