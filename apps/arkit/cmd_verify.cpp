#include <arkit/engine/resident_jobs.h>
#include <arkit/error.h>

#include "command.h"
#include "read_options.h"
#include "render.h"

namespace arkit::cli {

Result cmd_verify(const Arguments& arguments, Plugins& plugins, Reporter& reporter) {
  VerifyOptions options;
  options.directory = arguments.positional(0);
  read_options(options, arguments);
  Result result;
  result.json = verify(options, read_resident(arguments), plugins.registry(), reporter);
  result.human = describe_object(result.json);
  if (!json::get_bool(result.json, "passed", "verify").value_or(false))
    result.exit_code = static_cast<int>(ErrorCode::verification);
  return result;
}

}  // namespace arkit::cli
