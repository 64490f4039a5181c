#include <arkit/engine/resident_jobs.h>
#include <arkit/error.h>
#include <arkit/str.h>

#include "command.h"
#include "compute_options.h"
#include "render.h"

namespace arkit::cli {

Result cmd_forward(const Arguments& arguments, Plugins& plugins, Reporter& reporter) {
  ForwardOptions options;
  options.model = arguments.positional(0);
  set_if(options.input_ids, arguments.text("input_ids"));
  set_if(options.output, arguments.text("output"));
  if (options.input_ids.empty() || options.output.empty())
    throw_usage("'arkit forward' needs --input_ids FILE and --output FILE, both safetensors");
  read_compute_options(options, arguments);
  Result result;
  result.json = forward(options, read_resident(arguments), plugins.registry(), reporter);
  result.human = describe_object(result.json);
  result.kept = str("the logits are complete: '", options.output.string(), "'");
  return result;
}

}  // namespace arkit::cli
