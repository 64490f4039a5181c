#include "yaml_text.h"

#include <algorithm>
#include <array>
#include <string_view>

#include <arkit/escape.h>

namespace arkit::llm_compressor {
namespace {

constexpr size_t kWidth = 88;  // a list goes on in the next line once the line is longer
constexpr size_t kStep = 2;

bool is_leaf(const json::Value& value) {
  return !value.is_object() && !value.is_array();
}

// On one line: nothing in it but scalars.
bool is_flow(const json::Value& value) {
  if (value.is_array()) return std::all_of(value.get_array().begin(), value.get_array().end(), is_leaf);
  return std::all_of(value.get_object().begin(), value.get_object().end(),
                     [](const auto& member) { return is_leaf(member.value()); });
}

// Control and bidirectional characters, and bytes that are no UTF-8.
bool has_control(std::string_view text) {
  return text.find_first_of("\n\t") != std::string_view::npos || escape_terminal(text) != text;
}

// Would a YAML 1.1 reader take these letters for something else than a string?
bool reads_as_other(std::string_view text) {
  static constexpr std::array<std::string_view, 26> kWords = {
      "",    "~",  "null", "Null", "NULL", "true", "True", "TRUE", "false", "False", "FALSE", "yes", "Yes",
      "YES", "no", "No",   "NO",   "on",   "On",   "ON",   "off",  "Off",   "OFF",   "=",     "<<",  "---"};
  if (std::find(kWords.begin(), kWords.end(), text) != kWords.end()) return true;
  // Numbers, dates and times: letters of numbers only, one of them a digit or a dot word.
  const bool numeric = text.find_first_not_of("+-.0123456789eE_:xabcdefABCDEF") == std::string_view::npos;
  const bool starts = std::string_view("+-.0123456789").find(text.front()) != std::string_view::npos;
  return numeric && starts && text.find_first_of("0123456789") != std::string_view::npos;
}

bool needs_quotes(std::string_view text) {
  if (reads_as_other(text) || text.front() == ' ' || text.back() == ' ' || text.back() == ':') return true;
  if (std::string_view("#,[]{}&*!|>'\"%@`?-").find(text.front()) != std::string_view::npos &&
      !(text.front() == '-' && text.size() > 1 && text[1] != ' '))
    return true;
  // Indicators of a line's inside.
  return text.find_first_of(",?[]{}:") != std::string_view::npos || text.find(" #") != std::string_view::npos;
}

// The escapes for a terminal are those of YAML.
std::string double_quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\')
      out += {'\\', c};
    else if (c == '\n')
      out += "\\n";
    else if (c == '\t')
      out += "\\t";
    else
      out += c;
  }
  return escape_terminal(out) + "\"";
}

std::string scalar(const json::Value& value) {
  if (value.is_null()) return "null";
  if (!value.is_string()) {
    std::string text = json::dump(value);
    const size_t exponent = text.find('e');
    // Readers of YAML 1.1 want a dot in a real number.
    if (value.is_double() && exponent != std::string::npos && text.find('.') == std::string::npos)
      text.insert(exponent, ".0");
    return text;
  }
  const std::string_view text = value.get_string();
  if (has_control(text)) return double_quoted(text);
  if (!needs_quotes(text)) return std::string(text);
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("''") : std::string(1, c);
  return quoted + "'";
}

class Writer {
 public:
  std::string text;

  void block(const json::Value& value, size_t indent) {
    if (value.is_object())
      mapping(value.get_object(), indent);
    else
      for (const json::Value& entry : value.get_array()) {
        begin_line(indent);
        text += "-";
        member(entry, indent);
      }
  }

 private:
  void begin_line(size_t indent) { text.append(indent, ' '); }

  void mapping(const json::Object& object, size_t indent) {
    for (const auto& entry : object) {
      begin_line(indent);
      text += scalar(json::Value(entry.key())) + ":";
      member(entry.value(), indent);
    }
  }

  // What follows "key:" or "-".
  void member(const json::Value& value, size_t indent) {
    if (is_leaf(value)) {
      text += " ";
      text += scalar(value);
      text += "\n";
    } else if (is_flow(value)) {
      text += " ";
      flow(value, indent + kStep);
      text += "\n";
    } else {
      text += "\n";
      block(value, indent + kStep);
    }
  }

  void flow(const json::Value& value, size_t indent) {
    const bool list = value.is_array();
    text += list ? "[" : "{";
    bool first = true;
    const auto separate = [&] {
      if (!first) text += ",";
      const size_t column = text.size() - (text.rfind('\n') + 1);
      if (column > kWidth) {
        text += "\n";
        begin_line(indent);
      } else if (!first) {
        text += " ";
      }
      first = false;
    };
    if (list)
      for (const json::Value& entry : value.get_array()) {
        separate();
        text += scalar(entry);
      }
    else
      for (const auto& entry : value.get_object()) {
        separate();
        text += scalar(json::Value(entry.key())) + ": " + scalar(entry.value());
      }
    text += list ? "]" : "}";
  }
};

}  // namespace

std::string yaml_text(const json::Object& document) {
  Writer writer;
  writer.block(document, 0);
  return writer.text;
}

}  // namespace arkit::llm_compressor
