#include <arkit/engine/jobs.h>
#include <arkit/error.h>

#include "command.h"
#include "read_options.h"

namespace arkit::cli {

Result cmd_convert(const Arguments& arguments, Plugins& plugins, Reporter& reporter) {
  ConvertOptions options;
  options.model = arguments.positional(0);
  read_options(options, arguments);
  if (options.formats.empty())
    throw_usage("'arkit convert' needs --format F: what to write; 'arkit list formats' shows all");
  options.command_line = arguments.parsed().command_line;
  Result result;
  result.json = convert(options, plugins.registry(), reporter);
  result.human = describe_run(result.json, "proofs");
  result.kept = kept_exports(result.json);
  return result;
}

}  // namespace arkit::cli
