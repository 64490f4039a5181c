#include <arkit/engine/jobs.h>
#include <arkit/error.h>

#include "command.h"
#include "render.h"

namespace arkit::cli {

Result cmd_convert(const Arguments& arguments, Plugins& plugins, Reporter& reporter) {
  ConvertOptions options;
  options.model = arguments.positional(0);
  options.formats = arguments.texts("format");
  if (options.formats.empty())
    throw_usage("'arkit convert' needs --format F: what to write; 'arkit list formats' shows all");
  set_if(options.output_dir, arguments.text("output_dir"));
  options.allow_rounding = arguments.flag("allow_rounding");
  set_if(options.max_shard_bytes, arguments.bytes("max_shard_size"));
  options.dry_run = arguments.flag("dry_run");
  options.force = arguments.flag("force");
  options.command_line = arguments.parsed().command_line;
  Result result;
  result.json = convert(options, plugins.registry(), reporter);
  result.human = describe_object(result.json, {"proofs", "dry_run"});
  result.kept = kept_exports(result.json);
  return result;
}

}  // namespace arkit::cli
