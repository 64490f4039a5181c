#include "hub_name.h"

#include <filesystem>
#include <string>
#include <system_error>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::cli {
namespace {

const std::string* value_of(const ParsedCommand& parsed, std::string_view option) {
  const auto found = parsed.values.find(option);
  return found == parsed.values.end() || found->second.empty() ? nullptr : &found->second.back();
}

}  // namespace

ParsedCommand with_hub(ParsedCommand parsed) {
  const std::string *revision = value_of(parsed, "revision"), *hub = value_of(parsed, "hub");
  if ((revision == nullptr && hub == nullptr) || parsed.positionals.empty()) return parsed;
  std::string& model = parsed.positionals.front();
  std::error_code error;
  if (std::filesystem::exists(model, error))
    throw_usage(str("'", printable(model), "' is a path here, and --", revision != nullptr ? "revision" : "hub",
                    " speaks of a model of a hub; leave it out"));
  if (hub != nullptr) {
    const std::string prefix = (*hub == "model_scope" ? "modelscope" : *hub) + ":";
    const size_t colon = model.find(':');
    if (colon != std::string::npos && !model.starts_with(prefix))
      throw_usage(str("'", printable(model), "' names a hub, and --hub ", *hub, " another; leave one of them out"));
    if (colon == std::string::npos) model = prefix + model;
  }
  if (revision != nullptr) {
    if (model.find('@') != std::string::npos)
      throw_usage(str("'", printable(model), "' names a revision, and --revision another; leave one of them out"));
    model += "@" + *revision;
  }
  return parsed;
}

}  // namespace arkit::cli
