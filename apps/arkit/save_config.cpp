#include "save_config.h"

#include <charconv>
#include <sstream>

#include <toml++/toml.h>

#include <arkit/error.h>
#include <arkit/part_file.h>
#include <arkit/str.h>

namespace arkit::cli {
namespace {

std::string quoted(const std::string& text) {
  std::ostringstream out;
  out << toml::value<std::string>(text);
  return out.str();
}

// The shortest text that reads back, as a TOML float.
std::string number_text(double value) {
  char digits[32];
  std::string text(digits, std::to_chars(digits, digits + sizeof(digits), value).ptr);
  return text.find_first_of(".e") == std::string::npos ? text + ".0" : text;
}

// As a user would type it: a number, a word, words with commas between.
std::string typed_text(const json::Value& value) {
  if (value.is_string()) return std::string(value.get_string());
  if (value.is_double()) return number_text(value.get_double());
  if (!value.is_array()) return json::dump(value);
  std::string words;
  for (const json::Value& element : value.get_array()) {
    if (!words.empty()) words += ',';
    words += typed_text(element);
  }
  return words;
}

// `values` is an array: one entry is one value of an option that may be given several times, or one word of a list.
std::string list_text(const Option& option, const json::Array& values) {
  if (!repeatable(option)) return quoted(typed_text(values));
  std::string list;
  for (const json::Value& value : values) list += (list.empty() ? "" : ", ") + quoted(typed_text(value));
  return "[" + list + "]";
}

bool says_nothing(const json::Value* value) {
  return value == nullptr || value->is_null() || (value->is_string() && value->get_string().empty()) ||
         (value->is_array() && value->get_array().empty());
}

}  // namespace

std::string recipe_text(const Command& command, const json::Object& resolved) {
  std::string text =
      str("# Options of `arkit ", command.name, "`; use with --config. Flags override what is written here.\n");
  for (const Option& option : command.options) {
    const json::Value* value = resolved.if_contains(option.name);
    if (says_nothing(value) || option.row.unsaved) continue;
    std::string written;
    if (value->is_array())
      written = list_text(option, value->get_array());
    else if (value->is_string())
      written = quoted(typed_text(*value));
    else
      written = typed_text(*value);
    text += str(option.name, " = ", written, "\n");
  }
  return text;
}

void save_config(const std::filesystem::path& path, const Command& command, const json::Object& resolved) {
  write_file(path, recipe_text(command, resolved));
}

}  // namespace arkit::cli
