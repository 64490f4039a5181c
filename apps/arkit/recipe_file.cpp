#include "recipe_file.h"

#include <algorithm>
#include <charconv>
#include <sstream>

#include <toml++/toml.h>

#include <arkit/error.h>
#include <arkit/input_file.h>
#include <arkit/str.h>
#include <arkit/toml_depth.h>

#include "command_line.h"

namespace arkit::cli {
namespace {

constexpr int64_t kMaxBytes = int64_t{1} << 20;

// A TOML value as the text a user would type.
std::string as_text(const toml::node& node, const std::string& where) {
  std::ostringstream out;
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* flag = node.as_boolean()) return flag->get() ? "true" : "false";
  if (const auto* integer = node.as_integer()) return std::to_string(integer->get());
  if (const auto* number = node.as_floating_point()) {
    char digits[32];  // the shortest text that reads back
    return {digits, std::to_chars(digits, digits + sizeof(digits), number->get()).ptr};
  }
  // Some options may be written as a table; the core reads it as JSON.
  if (const auto* table = node.as_table()) {
    out << toml::json_formatter{*table};
    return out.str();
  }
  throw_usage(str(where, ": a date or time is not a value of any option"));
}

std::vector<std::string> as_values(const Option& option, const toml::node& node, const std::string& where) {
  if (node.is_table() && !option.row.may_be_table)
    throw_usage(str(where, ": a table is only accepted for layer_config; write the options without [sections]"));
  const toml::array* array = node.as_array();
  if (array == nullptr) return {as_text(node, where)};
  if (!repeatable(option)) throw_usage(str(where, ": one value is expected, not a list"));
  std::vector<std::string> values;
  for (const toml::node& element : *array) values.push_back(as_text(element, where));
  return values;
}

toml::table parse(std::string_view text, const std::string& where) {
  try {
    util::refuse_deep_keys(text, str("'", printable(where), "'"));
    return toml::parse(text, where);
  } catch (const toml::parse_error& error) {
    throw_input(str("'", printable(where), "': line ", error.source().begin.line,
                    ": not TOML: ", printable(error.description()), "; one 'option = value' a line is expected"));
  }
}

}  // namespace

Values read_recipe(std::string_view text, const std::string& where, const Command& command) {
  const toml::table table = parse(text, where);
  Values values;
  for (const auto& [key, node] : table) {
    std::string name(key.str());
    const std::string place = str("'", printable(where), "': ", printable(name));
    std::replace(name.begin(), name.end(), '-', '_');
    if (name == "plugin" || name == "family")
      throw_usage(str(place, " can only be given on the command line; a recipe must not choose ",
                      name == "plugin" ? "code to run" : "what a model is"));
    const Option* option = find_option(command, name);
    if (option == nullptr || is_kept_out_of_recipes(*option))
      throw_usage(str(
          "'", printable(where),
          "': ", unknown_name("key", name, option_names(command), str("'arkit ", command.name, " --help' shows all"))));
    const std::string canonical(option->name);
    if (values.contains(canonical)) throw_usage(str(place, ": '", canonical, "' is set twice"));
    for (const std::string& value : as_values(*option, node, place)) {
      check_value(*option, value, place);
      values[canonical].push_back(value);
    }
  }
  tidy_values(command, values, str("'", printable(where), "': "));
  return values;
}

Values read_recipe_file(const std::filesystem::path& path, const Command& command) {
  return read_recipe(read_input_file(path, kMaxBytes, "--config: "), path.string(), command);
}

bool is_kept_out_of_recipes(const Option& option) {
  return option.row.one_call;
}

}  // namespace arkit::cli
