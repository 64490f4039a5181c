#include <arkit/sdk/toml_json.h>

#include <cmath>
#include <sstream>

// Compiled in: plugins that read families need no library beside LibTorch.
#define TOML_HEADER_ONLY 1
#include <toml++/toml.h>

#include <arkit/error.h>
#include <arkit/str.h>
#include <arkit/toml_depth.h>

namespace arkit::sdk {
namespace {

// JSON has neither, and as texts they would pass for names. Tables are no deeper than refuse_deep_keys() lets them be.
void refuse_not_finite(const toml::node& node, std::string_view key, std::string_view what) {
  if (const toml::table* table = node.as_table()) {
    for (const auto& [name, value] : *table) refuse_not_finite(value, name.str(), what);
  } else if (const toml::array* array = node.as_array()) {
    for (const toml::node& value : *array) refuse_not_finite(value, key, what);
  } else if (const auto* number = node.as_floating_point(); number != nullptr && !std::isfinite(number->get())) {
    throw_input(str(what, ": line ", node.source().begin.line, ": '", printable(key), "' is ",
                    std::isnan(number->get()) ? "nan" : "inf", "; expected a finite number"));
  }
}

}  // namespace

json::Value toml_as_json(std::string_view text, std::string_view what) {
  std::ostringstream as_json;
  try {
    util::refuse_deep_keys(text, what);
    const toml::table table = toml::parse(text);
    refuse_not_finite(table, {}, what);
    as_json << toml::json_formatter{table};
  } catch (const toml::parse_error& error) {
    throw_input(str(what, ": line ", error.source().begin.line, ": not TOML: ", printable(error.description())));
  }
  return json::parse(as_json.str(), what);
}

}  // namespace arkit::sdk
