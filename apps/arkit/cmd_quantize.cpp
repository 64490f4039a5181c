#include <arkit/engine/jobs.h>
#include <arkit/engine/resolved_options.h>

#include "command.h"
#include "quantize_options.h"
#include "save_config.h"

namespace arkit::cli {

Result cmd_quantize(const Arguments& arguments, Plugins& plugins, Reporter& reporter) {
  const QuantizeOptions options = quantize_options(arguments);
  refuse_gguf(options, plugins.registry());
  if (const auto file = arguments.text("save_config"))
    save_config(*file, *find_command("quantize"), resolved_options(options, plugins.registry()));
  Result result;
  result.json = quantize(options, plugins.registry(), reporter);
  result.human = describe_run(result.json, "options");
  result.kept = kept_exports(result.json);
  return result;
}

}  // namespace arkit::cli
