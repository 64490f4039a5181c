#include "quant/layer_config.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include <toml++/toml.h>

#include <arkit/error.h>
#include <arkit/input_file.h>
#include <arkit/json.h>
#include <arkit/str.h>
#include <arkit/toml_depth.h>

namespace arkit {
namespace fs = std::filesystem;

namespace {

constexpr std::array<std::string_view, 13> kFields{
    "scheme",  "bits",          "group_size",  "sym",         "data_type",  "act_bits",    "act_group_size",
    "act_sym", "act_data_type", "act_dynamic", "scale_dtype", "super_bits", "scale_search"};

constexpr int64_t kMaxFileBytes = int64_t{64} << 20;

// AutoRound's relaxed form without quotes -> JSON: bare words become strings, True/False/None their JSON words.
std::string quote_bare_words(std::string_view text) {
  std::string out;
  bool key_position = true;
  const auto is_word = [&](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
           std::string_view("_.*^$|()?+/-\\:").find(c) != std::string_view::npos ||
           (key_position && (c == '[' || c == ']'));
  };
  for (size_t i = 0; i < text.size();) {
    const char c = text[i];
    if (c == '"' || c == '\'') {
      const size_t end = text.find(c, i + 1);
      if (end == std::string_view::npos) throw_usage("layer_config: a quote is not closed");
      out += '"';
      out += text.substr(i + 1, end - i - 1);
      out += '"';
      i = end + 1;
    } else if (is_word(c) && !(c == ':' && !key_position)) {
      size_t end = i;
      // In a key the colon ends the word; in a value (GGUF:Q4_K) it belongs to it.
      while (end < text.size() && is_word(text[end]) && !(key_position && text[end] == ':')) ++end;
      const std::string word(text.substr(i, end - i));
      if (end == i) {
        out += c;
        key_position = c != ':';
        ++i;
        continue;
      }
      const std::string small = lower(word);
      const bool literal =
          !key_position && (small == "true" || small == "false" || small == "null" || small == "none" ||
                            word.find_first_not_of("0123456789-") == std::string::npos);
      if (literal)
        out += small == "none" ? "null" : small;
      else
        out += "\"" + word + "\"";
      i = end;
    } else {
      if (c == ':') key_position = false;
      if (c == ',' || c == '{') key_position = true;
      out += c;
      ++i;
    }
  }
  return out;
}

LayerRule parse_rule(const std::string& key, const json::Value& value, std::string_view what) {
  LayerRule rule{.key = key};
  const std::string where = str(what, ": '", printable(key), "'");
  if (value.is_string()) {
    rule.scheme = std::string(value.get_string());
    return rule;
  }
  const json::Object& fields = json::as_object(value, where);
  std::vector<std::string> known(kFields.begin(), kFields.end());
  for (const auto& field : fields)
    if (std::find(known.begin(), known.end(), std::string(field.key())) == known.end())
      throw_usage(unknown_name(str("scheme field in ", where), std::string(field.key()), known, ""));
  const auto as_int = [&](std::string_view name) -> std::optional<int> {
    const auto number = json::get_int(fields, name, where);
    if (number && (*number < -1 || *number > 64)) throw_usage(str(where, ": ", name, " ", *number, " is out of range"));
    return number ? std::optional<int>(static_cast<int>(*number)) : std::nullopt;
  };
  if (as_int("super_bits").value_or(0) != 0)
    throw_usage(
        str(where,
            ": super_bits asks for double quantization, which block types have by themselves; give the layer the "
            "scheme of one ('arkit list schemes' shows all)"));
  rule.scheme = json::get_string(fields, "scheme", where).value_or("");
  SchemeOverrides& o = rule.overrides;
  o.bits = as_int("bits");
  o.act_bits = as_int("act_bits");
  o.group_size = json::get_int(fields, "group_size", where);
  o.act_group_size = json::get_int(fields, "act_group_size", where);
  o.sym = json::get_bool(fields, "sym", where);
  o.act_sym = json::get_bool(fields, "act_sym", where);
  o.act_dynamic = json::get_bool(fields, "act_dynamic", where);
  o.data_type = json::get_string(fields, "data_type", where);
  o.act_data_type = json::get_string(fields, "act_data_type", where);
  o.scale_dtype = json::get_string(fields, "scale_dtype", where);
  o.scale_search = json::get_string(fields, "scale_search", where);
  return rule;
}

std::vector<LayerRule> parse_object(const json::Value& value, std::string_view what) {
  std::vector<LayerRule> rules;
  for (const auto& entry : json::as_object(value, what))
    rules.push_back(parse_rule(std::string(entry.key()), entry.value(), what));
  return rules;
}

struct TomlRule {
  toml::source_position position;
  LayerRule rule;
};

bool is_field(std::string_view key) {
  return std::find(kFields.begin(), kFields.end(), key) != kFields.end();
}

// A member of a table that is not a scheme field but a longer key: another table, or the name of a scheme. What looks
// like a slip of a field is left for the error message about fields.
bool is_longer_key(std::string_view key, const toml::node& node) {
  if (is_field(key)) return false;
  static const std::vector<std::string> fields(kFields.begin(), kFields.end());
  return node.is_table() || (node.is_string() && nearest(key, fields).empty());
}

void add_rule(const std::string& key, const toml::node& node, const fs::path& path, std::vector<TomlRule>& found) {
  const std::string what = str("'", path.string(), "'");
  toml::table own;  // the fields of this key itself
  const toml::table* table = node.as_table();
  if (table != nullptr) {
    for (const auto& [name, member] : *table) {
      if (is_longer_key(name.str(), member))
        add_rule(str(key, ".", std::string_view(name.str())), member, path, found);
      else
        own.insert(name, member);
    }
    if (own.empty() && !table->empty()) return;
  }
  std::ostringstream text;
  if (table != nullptr)
    text << toml::json_formatter{own};
  else
    text << toml::json_formatter{node};
  TomlRule rule{node.source().begin, parse_rule(key, json::parse(text.str(), what), what)};
  rule.rule.origin = str(path.filename().string(), " line ", rule.position.line);
  found.push_back(std::move(rule));
}

// Rules of a TOML file in the order they are written: toml++ keeps tables sorted by key, but the later of two patterns
// wins.
std::vector<LayerRule> parse_toml(const fs::path& path) {
  constexpr uintmax_t kLargestFile = 8 << 20;  // 37,000 layers named one by one take 2 MB
  std::error_code failed;
  if (fs::file_size(path, failed) > kLargestFile || failed)
    throw_input(
        str("'", path.string(), "': is no file or larger than ", kLargestFile >> 20, " MB; layers are expected"));
  try {
    std::ifstream in(path, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    util::refuse_deep_keys(text, str("'", path.string(), "'"));
    const toml::table table = toml::parse(text, path.string());
    std::vector<TomlRule> found;
    for (const auto& [key, node] : table) add_rule(std::string(key.str()), node, path, found);
    std::stable_sort(found.begin(), found.end(),
                     [](const TomlRule& a, const TomlRule& b) { return a.position < b.position; });
    std::vector<LayerRule> rules;
    for (TomlRule& entry : found) rules.push_back(std::move(entry.rule));
    return rules;
  } catch (const toml::parse_error& error) {
    throw_input(str("'", path.string(), "': not valid TOML at line ", error.source().begin.line, ": ",
                    std::string(error.description())));
  }
}

}  // namespace

std::vector<LayerRule> parse_layer_config(const std::string& text) {
  if (text.empty()) return {};
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first != std::string::npos && text[first] == '{') {
    try {
      return parse_object(json::parse(text, "layer_config"), "layer_config");
    } catch (const Error& strict) {
      try {
        return parse_object(json::parse(quote_bare_words(text), "layer_config"), "layer_config");
      } catch (const Error& relaxed) {
        throw_usage(relaxed.what());
      }
    }
  }
  const fs::path path(text);
  std::error_code error;
  if (!fs::exists(path, error))
    throw_usage(
        str("layer_config '", printable(text), "': neither an object ({...}) nor an existing .json or .toml file"));
  check_input_file(path, kMaxFileBytes, "layer_config ");
  if (path.extension() == ".toml") return parse_toml(path);
  return parse_object(json::read_file(path), str("'", text, "'"));
}

std::string to_standard_regex(std::string_view pattern) {
  static constexpr std::string_view kMeta = "^$|()[]?+";
  const bool is_regex =
      pattern.find(".*") != std::string_view::npos || pattern.find_first_of(kMeta) != std::string_view::npos;
  std::string body;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    const bool bare_dot = c == '.' && !(is_regex && i + 1 < pattern.size() && pattern[i + 1] == '*');
    const bool already_escaped = i > 0 && pattern[i - 1] == '\\';
    if ((bare_dot && !(is_regex && already_escaped)) ||
        (!is_regex && std::string_view("*{}\\-&~# ").find(c) != std::string_view::npos))
      body += '\\';
    body += c;
  }
  if (!is_regex) return ".*" + body + ".*";
  if (!body.starts_with('^') && !body.starts_with(".*")) body = ".*" + body;
  if (!body.ends_with('$') && !body.ends_with(".*")) body += ".*";
  return body;
}

}  // namespace arkit
