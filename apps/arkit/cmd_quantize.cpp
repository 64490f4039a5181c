#include <arkit/jobs.h>

#include "command.h"
#include "quantize_options.h"
#include "render.h"

namespace arkit::cli {

Result cmd_quantize(const Arguments& arguments, Plugins& plugins, Reporter& reporter) {
  Result result;
  result.json = quantize(quantize_options(arguments), plugins.registry(), reporter);
  result.human = describe_object(result.json, {"options", "dry_run"});
  return result;
}

}  // namespace arkit::cli
