#include "hub_name.h"

#include <filesystem>
#include <optional>
#include <string>
#include <system_error>

#include <arkit/error.h>
#include <arkit/str.h>

#include "arguments.h"

namespace arkit::cli {

ParsedCommand with_hub(ParsedCommand parsed) {
  const Arguments arguments(parsed);
  const std::optional<std::string> revision = arguments.text("revision"), hub = arguments.text("hub");
  if ((!revision && !hub) || parsed.positionals.empty()) return parsed;
  std::string& model = parsed.positionals.front();
  std::error_code error;
  if (std::filesystem::exists(model, error))
    throw_usage(str("'", printable(model), "' is a path here, and --", revision ? "revision" : "hub",
                    " speaks of a model of a hub; leave it out"));
  if (hub) {
    const std::string prefix = (*hub == "model_scope" ? "modelscope" : *hub) + ":";
    const size_t colon = model.find(':');
    if (colon != std::string::npos && !model.starts_with(prefix))
      throw_usage(str("'", printable(model), "' names a hub, and --hub ", *hub, " another; leave one of them out"));
    if (colon == std::string::npos) model = prefix + model;
  }
  if (revision) {
    if (model.find('@') != std::string::npos)
      throw_usage(str("'", printable(model), "' names a revision, and --revision another; leave one of them out"));
    model += "@" + *revision;
  }
  return parsed;
}

}  // namespace arkit::cli
