#include "jobs/format_matrix.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include <arkit/str.h>

namespace arkit {
namespace {

constexpr std::string_view kAsym = " asym";

using Column = std::pair<std::string, std::vector<std::string>>;  // formats, cells from top to bottom

bool says_yes(const json::Object& schemes, const std::string& name) {
  const json::Value* verdict = schemes.if_contains(name);
  return verdict != nullptr && verdict->is_string() && verdict->get_string() == "yes";
}

std::string cell_of(const json::Object& schemes, const std::string& scheme) {
  const std::string asymmetric = str(scheme, kAsym);
  const bool sym = says_yes(schemes, scheme), asym = says_yes(schemes, asymmetric);
  if (!schemes.contains(asymmetric)) return sym ? "yes" : "-";
  if (sym && asym) return "sym, asym";
  return sym ? "sym" : asym ? "asym" : "-";
}

// "W4A16G32" and "W4A16G64" say nothing new beside "W4A16".
bool repeats_another(const std::string& scheme, const std::vector<std::string>& schemes, const json::Array& rows) {
  if (!scheme.ends_with("G32") && !scheme.ends_with("G64")) return false;
  const std::string base = scheme.substr(0, scheme.size() - 3);
  if (std::find(schemes.begin(), schemes.end(), base) == schemes.end()) return false;
  return std::all_of(rows.begin(), rows.end(), [&](const json::Value& row) {
    const json::Object& cells = row.at("schemes").as_object();
    return cell_of(cells, scheme) == cell_of(cells, base);
  });
}

std::vector<std::string> schemes_of(const json::Array& rows) {
  std::vector<std::string> all;
  for (const auto& member : rows.front().at("schemes").as_object())
    if (!member.key().ends_with(kAsym)) all.emplace_back(member.key());
  std::vector<std::string> shown;
  for (const std::string& scheme : all)
    if (!repeats_another(scheme, all, rows)) shown.push_back(scheme);
  return shown;
}

// Any of those that a row "GGUF:*" is about.
std::string first_of(const std::string& scheme, const json::Object& verdicts) {
  if (!scheme.ends_with(":*")) return scheme;
  const std::string prefix = scheme.substr(0, scheme.size() - 1);
  for (const auto& member : verdicts)
    if (member.key().starts_with(prefix) && !member.key().ends_with(kAsym)) return member.key();
  return scheme;
}

// "GGUF:Q4_K" and the other presets of that name in front are one row, "GGUF:*", where all formats take all or none.
std::vector<std::string> families_of(std::vector<std::string> schemes, const json::Array& rows) {
  std::vector<std::string> shown;
  for (const std::string& scheme : schemes) {
    const size_t colon = scheme.find(':');
    if (colon == std::string::npos) {
      shown.push_back(scheme);
      continue;
    }
    const std::string prefix = scheme.substr(0, colon + 1);
    const bool alike = std::all_of(schemes.begin(), schemes.end(), [&](const std::string& other) {
      return !other.starts_with(prefix) || std::all_of(rows.begin(), rows.end(), [&](const json::Value& row) {
        const json::Object& cells = row.at("schemes").as_object();
        return cell_of(cells, scheme) == cell_of(cells, other);
      });
    });
    if (!alike)
      shown.push_back(scheme);
    else if (shown.empty() || shown.back() != prefix + "*")
      shown.push_back(prefix + "*");
  }
  return shown;
}

std::string line(const std::vector<Column>& columns, size_t row) {
  std::string text = "|";
  for (const auto& [head, cells] : columns) {
    const std::string& cell = row == 0 ? head : cells[row - 1];
    size_t width = head.size();
    for (const std::string& other : cells) width = std::max(width, other.size());
    text += " " + cell + std::string(width - cell.size(), ' ') + " |";
  }
  return text + "\n";
}

}  // namespace

std::string format_matrix(const json::Array& rows) {
  if (rows.empty()) return {};
  const std::vector<std::string> schemes = families_of(schemes_of(rows), rows);
  std::vector<Column> columns{{"scheme", schemes}};
  for (const json::Value& row : rows) {
    if (row.as_object().contains("stands_for")) continue;  // a preset and the format it is a variant of
    const std::string format(row.at("format").as_string());
    const json::Object& verdicts = row.at("schemes").as_object();
    std::vector<std::string> cells;
    for (const std::string& scheme : schemes) cells.push_back(cell_of(verdicts, first_of(scheme, verdicts)));
    const auto same = std::find_if(columns.begin(), columns.end(), [&](const Column& c) { return c.second == cells; });
    if (same != columns.end())
      same->first += ", " + format;
    else
      columns.emplace_back(format, std::move(cells));
  }
  std::string text = line(columns, 0) + "|";
  for (size_t i = 0; i < columns.size(); ++i) text += " --- |";
  text += "\n";
  for (size_t row = 1; row <= schemes.size(); ++row) text += line(columns, row);
  return text;
}

}  // namespace arkit
