#include "recipe_file.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>

#include <toml++/toml.h>

#include <arkit/error.h>
#include <arkit/part_file.h>
#include <arkit/str.h>

#include "command_line.h"

namespace arkit::cli {
namespace {

constexpr std::string_view kNotInRecipes[] = {"plugin", "config", "save_config", "help"};

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
  // layer_config may be written as a table; the core reads it as JSON.
  if (const auto* table = node.as_table()) {
    out << toml::json_formatter{*table};
    return out.str();
  }
  throw_usage(str(where, ": a date or time is not a value of any option"));
}

std::vector<std::string> as_values(const Option& option, const toml::node& node, const std::string& where) {
  if (node.is_table() && option.name != "layer_config")
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
    return toml::parse(text, where);
  } catch (const toml::parse_error& error) {
    throw_input(str("'", printable(where), "': line ", error.source().begin.line,
                    ": not TOML: ", printable(error.description()), "; one 'option = value' a line is expected"));
  }
}

std::string quoted_toml(const std::string& text) {
  std::ostringstream out;
  out << toml::value<std::string>(text);
  return out.str();
}

// Numbers and flags bare, everything else quoted.
std::string as_toml(const Option& option, const std::vector<std::string>& values) {
  if (option.type == Type::flag) return "true";
  if (option.type == Type::integer) return values.front();
  if (option.type == Type::number)
    return values.front().find_first_of(".e") == std::string::npos ? values.front() + ".0" : values.front();
  if (option.type != Type::list && values.size() == 1) return quoted_toml(values.front());
  std::string list;
  for (const std::string& value : values) list += (list.empty() ? "" : ", ") + quoted_toml(value);
  return "[" + list + "]";
}

}  // namespace

Values read_recipe(std::string_view text, const std::string& where, const Command& command) {
  const toml::table table = parse(text, where);
  Values values;
  for (const auto& [key, node] : table) {
    std::string name(key.str());
    const std::string place = str("'", printable(where), "': ", printable(name));
    std::replace(name.begin(), name.end(), '-', '_');
    if (name == "plugin")
      throw_usage(str(place, " can only be given on the command line; a recipe must not choose code to run"));
    const Option* option = find_option(command, name);
    if (option == nullptr ||
        std::find(std::begin(kNotInRecipes), std::end(kNotInRecipes), option->name) != std::end(kNotInRecipes))
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
  constexpr size_t kMaxBytes = size_t{1} << 20;
  std::ifstream file(path, std::ios::binary);
  std::string text;
  if (file) {
    text.resize(kMaxBytes + 1);
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<size_t>(file.gcount()));
  }
  if (!file && text.empty() && !file.eof())
    throw_input(str("--config: '", printable(path.string()), "' cannot be read; give an existing TOML file"));
  if (text.size() > kMaxBytes) throw_input(str("--config: '", printable(path.string()), "' is larger than 1 MiB"));
  return read_recipe(text, path.string(), command);
}

void write_recipe_file(const std::filesystem::path& path, const Command& command, const ParsedCommand& parsed) {
  std::ostringstream file;
  file << "# Options of `arkit " << command.name << "`; use with --config. Flags override what is written here.\n";
  if (!parsed.positionals.empty()) file << "model = " << quoted_toml(parsed.positionals.front()) << "\n";
  for (const Option& option : command.options) {
    if (std::find(std::begin(kNotInRecipes), std::end(kNotInRecipes), option.name) != std::end(kNotInRecipes)) continue;
    if (const auto it = parsed.values.find(option.name); it != parsed.values.end() && !it->second.empty())
      file << option.name << " = " << as_toml(option, it->second) << "\n";
    else if (has_fixed_default(option))
      file << option.name << " = " << as_toml(option, {std::string(option.default_value)}) << "\n";
  }
  write_file(path, file.str());
}

}  // namespace arkit::cli
