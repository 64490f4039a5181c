#include <arkit/engine/reported_jobs.h>
#include <arkit/error.h>

#include "command.h"
#include "render.h"

namespace arkit::cli {

Result cmd_tokenize(const Arguments& arguments, Plugins& plugins, Reporter& reporter) {
  const std::optional<std::string> file = arguments.text("text_file");
  if (!file) throw_usage("'arkit tokenize' needs --text_file FILE");
  Result result;
  result.json = tokenize(arguments.positional(0), *file, plugins.registry(), reporter);
  result.human = describe_object(result.json);
  return result;
}

}  // namespace arkit::cli
