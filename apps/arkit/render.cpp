#include "render.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include <arkit/str.h>

namespace arkit::cli {
namespace {

constexpr size_t kMaxCell = 120;

// Columns on a terminal of UTF-8 text: bytes that do not continue a character.
size_t width(const std::string& text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string number(double value) {
  char text[40];
  const double size = std::fabs(value);
  std::snprintf(text, sizeof(text), size != 0 && (size < 1e-3 || size >= 1e7) ? "%.4g" : "%.4f", value);
  std::string out = text;
  if (out.find('.') != std::string::npos && out.find('e') == std::string::npos) {
    out.erase(out.find_last_not_of('0') + 1);
    if (out.back() == '.') out.pop_back();
  }
  return out;
}

bool is_table(const json::Value& value) {
  return value.is_array() && !value.get_array().empty() && value.get_array().front().is_object();
}

std::string with_unit(std::string_view key, const json::Value& value) {
  const bool bytes = key == "bytes" || key.ends_with("_bytes");
  if (value.is_number() && bytes) return human_bytes(value.to_number<double>());
  if (value.is_number() && key == "seconds") return human_seconds(value.to_number<double>());
  return cell(value);
}

}  // namespace

std::string human_bytes(double bytes) {
  static constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB"};
  size_t unit = 0;
  while (bytes >= 1000.0 && unit + 1 < std::size(kUnits)) {
    bytes /= 1000.0;
    ++unit;
  }
  char text[40];
  std::snprintf(text, sizeof(text), unit == 0 ? "%.0f %s" : "%.2f %s", bytes, kUnits[unit]);
  return text;
}

std::string human_seconds(double seconds) {
  char text[40];
  if (seconds < 60.0) {
    std::snprintf(text, sizeof(text), "%.1f s", seconds);
    return text;
  }
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole >= 3600)
    std::snprintf(text, sizeof(text), "%lld:%02lld:%02lld", static_cast<long long>(whole / 3600),
                  static_cast<long long>(whole / 60 % 60), static_cast<long long>(whole % 60));
  else
    std::snprintf(text, sizeof(text), "%lld:%02lld", static_cast<long long>(whole / 60),
                  static_cast<long long>(whole % 60));
  return text;
}

std::string cell(const json::Value& value) {
  if (value.is_string()) return printable(std::string_view(value.get_string()), 4000);
  if (value.is_bool()) return value.get_bool() ? "yes" : "no";
  if (value.is_double()) return number(value.get_double());
  if (value.is_null()) return "-";
  std::string out;
  if (value.is_array()) {
    for (const json::Value& element : value.get_array()) out += (out.empty() ? "" : ", ") + cell(element);
    return out;
  }
  if (value.is_object()) {
    for (const auto& [key, member] : value.get_object())
      out += (out.empty() ? "" : ", ") + printable(std::string_view(key)) + " " + cell(member);
    return out;
  }
  return json::dump(value);
}

std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows)
    for (size_t c = 0; c < row.size(); ++c) {
      if (c == widths.size()) widths.push_back(0);
      widths[c] = std::max(widths[c], width(row[c]));
    }
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (size_t c = 0; c < row.size(); ++c) {
      line += row[c];
      if (c + 1 < row.size()) line += std::string(widths[c] - width(row[c]) + 2, ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

std::string objects_table(const json::Array& rows) {
  if (rows.empty()) return "(none)\n";
  std::vector<std::string> columns;
  for (const json::Value& row : rows)
    for (const auto& [key, value] : row.as_object())
      if (std::find(columns.begin(), columns.end(), key) == columns.end()) columns.emplace_back(key);
  std::vector<std::vector<std::string>> cells{columns};
  for (const json::Value& row : rows) {
    std::vector<std::string>& line = cells.emplace_back();
    for (const std::string& column : columns) {
      const json::Value* value = row.get_object().if_contains(column);
      std::string text = value == nullptr ? "" : with_unit(column, *value);
      if (text.size() > kMaxCell) text = printable(text, kMaxCell);
      line.push_back(std::move(text));
    }
  }
  return table(cells);
}

std::string describe_object(const json::Object& object, const std::vector<std::string>& skip) {
  const auto skipped = [&](std::string_view key) { return std::find(skip.begin(), skip.end(), key) != skip.end(); };
  std::vector<std::vector<std::string>> lines;
  std::string tables;
  for (const auto& [key, value] : object) {
    if (skipped(key)) continue;
    std::string name(key);
    std::replace(name.begin(), name.end(), '_', ' ');
    if (is_table(value))
      tables += "\n" + name + "\n" + objects_table(value.get_array());
    else if (value.is_object() && value.get_object().size() > 4)
      tables += "\n" + name + "\n" + describe_object(value.get_object());
    else
      lines.push_back({name, with_unit(key, value)});
  }
  return table(lines) + tables;
}

}  // namespace arkit::cli
