#include <arkit/engine/resident_jobs.h>
#include <arkit/error.h>
#include <arkit/str.h>

#include "command.h"
#include "read_options.h"
#include "render.h"

namespace arkit::cli {

Result cmd_forward(const Arguments& arguments, Plugins& plugins, Reporter& reporter) {
  ForwardOptions options;
  options.model = arguments.positional(0);
  read_options(options, arguments);
  if (options.input_ids.empty() || options.output.empty())
    throw_usage("'arkit forward' needs --input_ids FILE and --output FILE, both safetensors");
  Result result;
  result.json = forward(options, read_resident(arguments), plugins.registry(), reporter);
  result.human = describe_object(result.json);
  result.kept = str("the logits are complete: '", options.output.string(), "'");
  return result;
}

}  // namespace arkit::cli
