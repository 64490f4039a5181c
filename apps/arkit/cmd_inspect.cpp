#include <arkit/engine/reported_jobs.h>

#include "command.h"
#include "render.h"

namespace arkit::cli {

Result cmd_inspect(const Arguments& arguments, Plugins& plugins, Reporter& reporter) {
  Result result;
  result.json = inspect_model(arguments.positional(0), plugins.registry(), reporter);
  // Thousands of tensors belong to --verbose and --json.
  result.human = describe_object(
      result.json, arguments.flag("verbose") ? std::vector<std::string>{} : std::vector<std::string>{"tensors"});
  return result;
}

}  // namespace arkit::cli
