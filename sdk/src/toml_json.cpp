#include <arkit/sdk/toml_json.h>

#include <sstream>

// Compiled in: plugins that read families need no library beside LibTorch.
#define TOML_HEADER_ONLY 1
#include <toml++/toml.h>

#include <arkit/error.h>
#include <arkit/str.h>
#include <arkit/toml_depth.h>

namespace arkit::sdk {

json::Value toml_as_json(std::string_view text, std::string_view what) {
  std::ostringstream as_json;
  try {
    util::refuse_deep_keys(text, what);
    as_json << toml::json_formatter{toml::parse(text)};
  } catch (const toml::parse_error& error) {
    throw_input(str(what, ": line ", error.source().begin.line, ": not TOML: ", printable(error.description())));
  }
  return json::parse(as_json.str(), what);
}

}  // namespace arkit::sdk
