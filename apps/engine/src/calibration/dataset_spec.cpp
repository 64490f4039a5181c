#include "calibration/dataset_spec.h"

#include <charconv>
#include <utility>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::calibration {
namespace {

bool is_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

// Cuts at `separator` outside quotes; the parts keep their quotes.
std::vector<std::string_view> split_outside_quotes(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  size_t begin = 0;
  char quote = '\0';
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quote != '\0') {
      if (c == quote) quote = '\0';
    } else if (c == '"' || c == '\'') {
      // An apostrophe inside an unquoted prompt ("I'm") opens nothing: quotes open only where a name or a value begins.
      const std::string_view before = text.substr(begin, i - begin);
      const bool opens = before.find_first_not_of(" \t") == std::string_view::npos || text[i - 1] == '=' ||
                         text[i - 1] == ':' || text[i - 1] == ',';
      if (opens) quote = c;
    } else if (c == separator) {
      parts.push_back(text.substr(begin, i - begin));
      begin = i + 1;
    }
  }
  if (quote != '\0') throw_usage(str("dataset '", printable(text), "': the quote ", quote, " is not closed"));
  parts.push_back(text.substr(begin));
  return parts;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

// The value behind quotes, or the text with its spaces removed (outer ones only with `keep_inner`).
std::string plain(std::string_view text, bool keep_inner = false) {
  text = trimmed(text);
  if (text.size() >= 2 && (text.front() == '"' || text.front() == '\'') && text.back() == text.front())
    return std::string(text.substr(1, text.size() - 2));
  std::string out(text);
  if (!keep_inner) std::erase_if(out, is_space);
  return out;
}

int64_t parse_num(const std::string& value, std::string_view entry) {
  int64_t num = 0;
  const auto result = std::from_chars(value.data(), value.data() + value.size(), num);
  if (result.ec != std::errc() || result.ptr != value.data() + value.size() || num <= 0)
    throw_usage(str("dataset '", printable(entry), "': num is '", printable(value), "'; expected a positive number"));
  return num;
}

// A bare key, or any value but "false", means yes.
bool parse_switch(const std::string& value) {
  return lower(value) != "false";
}

// A value that a key cannot do without.
std::string needed(std::string value, const std::string& key, std::string_view entry) {
  if (value.empty())
    throw_usage(str("dataset '", printable(entry), "': ", key, " has no value; expected ", key, "=VALUE"));
  return value;
}

std::string with_escapes(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const char next = text[i] == '\\' && i + 1 < text.size() ? text[i + 1] : '\0';
    if (next != 'n' && next != 't' && next != '\\') {
      out += text[i];
      continue;
    }
    out += next == 'n' ? '\n' : next == 't' ? '\t' : '\\';
    ++i;
  }
  return out;
}

[[noreturn]] void refuse_key(const std::string& key, std::string_view entry) {
  static const std::vector<std::string> known{
      "split", "config", "revision", "field", "template", "num", "concat", "apply_chat_template", "system_prompt"};
  const std::string near = nearest(key, known);
  throw_usage(str("dataset '", printable(entry), "': key '", printable(key), "' is unknown; ",
                  near.empty() ? str("known are ", quoted_list(known)) : str("did you mean '", near, "'?")));
}

DatasetSpec parse_entry(std::string_view entry, std::string& persistent_prompt) {
  const auto parts = split_outside_quotes(entry, ':');
  DatasetSpec spec;
  spec.name = plain(parts.front());
  if (spec.name.empty())
    throw_usage(str("dataset '", printable(entry), "': an entry has no name; expected name(:key[=value])*"));
  for (size_t i = 1; i < parts.size(); ++i) {
    const size_t equals = parts[i].find('=');
    const std::string key = plain(parts[i].substr(0, equals));
    const std::string_view raw = equals == std::string_view::npos ? "" : parts[i].substr(equals + 1);
    const std::string value = plain(raw);
    if (key == "split") {
      spec.splits = split(needed(value, key, entry), '+');
    } else if (key == "config") {
      spec.config = needed(value, key, entry);
    } else if (key == "revision") {
      spec.revision = needed(value, key, entry);
    } else if (key == "field") {
      spec.fields = split(needed(value, key, entry), '+');
    } else if (key == "template") {
      spec.pattern = with_escapes(needed(plain(raw, true), key, entry));
    } else if (key == "num") {
      spec.num = parse_num(value, entry);
    } else if (key == "concat") {
      spec.concat = parse_switch(value);
    } else if (key == "apply_chat_template") {
      spec.apply_chat_template = parse_switch(value);
    } else if (key == "system_prompt") {
      persistent_prompt = plain(raw, true);
      spec.apply_chat_template = true;
    } else if (!key.empty()) {
      refuse_key(key, entry);
    }
  }
  if (!spec.fields.empty() && !spec.pattern.empty())
    throw_usage(str("dataset '", printable(entry), "': gives field and template; keep one"));
  spec.system_prompt = persistent_prompt;
  return spec;
}

}  // namespace

std::vector<DatasetSpec> parse_dataset(std::string_view argument) {
  std::vector<DatasetSpec> specs;
  std::string prompt(kDefaultSystemPrompt);
  for (const std::string_view entry : split_outside_quotes(argument, ',')) specs.push_back(parse_entry(entry, prompt));
  return specs;
}

}  // namespace arkit::calibration
