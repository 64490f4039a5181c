#include <set>

#include <arkit/jobs.h>
#include <arkit/str.h>

#include "command.h"
#include "render.h"

namespace arkit::cli {
namespace {

std::string text_of(const json::Object& row, std::string_view key) {
  const json::Value* value = row.if_contains(key);
  return value == nullptr ? std::string() : cell(*value);
}

// One line a plugin; why one is not used stands below the table.
std::string plugins_text(const json::Array& rows) {
  std::vector<std::vector<std::string>> cells{{"state", "id", "version", "offers", "path"}};
  std::string notes;
  for (const json::Value& value : rows) {
    const json::Object& row = value.as_object();
    std::string offers;
    if (const json::Value* components = row.if_contains("components"))
      for (const json::Value& component : components->as_array())
        offers += str(offers.empty() ? "" : ", ", text_of(component.as_object(), "kind"), " ",
                      text_of(component.as_object(), "name"));
    cells.push_back({text_of(row, "state"), text_of(row, "id"), text_of(row, "version"), offers, text_of(row, "path")});
    std::string reason(row.contains("reason") ? std::string_view(row.at("reason").as_string()) : std::string_view());
    if (reason.empty()) continue;
    notes += str("\n", text_of(row, "path"), "\n");
    for (const std::string& line : split(reason, '\n')) notes += str("  ", printable(line, 1000), "\n");
  }
  return rows.empty() ? "no plugins were found\n" : table(cells) + notes;
}

// Formats against schemes: "yes" or "-"; with --verbose the reason of each "no" below.
std::string formats_text(const json::Array& rows, bool verbose) {
  std::vector<std::string> header{"format"};
  for (const json::Value& row : rows)
    for (const auto& [scheme, verdict] : row.at("schemes").as_object())
      if (std::find(header.begin(), header.end(), scheme) == header.end()) header.emplace_back(scheme);
  std::vector<std::vector<std::string>> cells{header};
  std::string reasons;
  for (const json::Value& row : rows) {
    std::vector<std::string>& line = cells.emplace_back();
    line.push_back(text_of(row.as_object(), "format"));
    for (size_t c = 1; c < header.size(); ++c) {
      const std::string verdict = text_of(row.at("schemes").as_object(), header[c]);
      line.emplace_back(verdict == "yes" ? "yes" : "-");
      if (verdict != "yes") reasons += str("  ", line.front(), ", ", header[c], ": ", verdict, "\n");
    }
  }
  if (rows.empty()) return "no plugin offers a format\n";
  return table(cells) + (reasons.empty() ? "" : verbose ? "\n" + reasons : "\n'-' is explained by --verbose\n");
}

}  // namespace

Result cmd_list(const Arguments& arguments, Plugins& plugins, Reporter&) {
  const std::string what = arguments.positional(0);
  Result result;
  result.json = list_things(what, plugins.registry());
  const json::Array& rows = json::as_array(result.json.at(what), what);
  if (what == "plugins")
    result.human = plugins_text(rows);
  else if (what == "formats")
    result.human = formats_text(rows, arguments.flag("verbose"));
  else
    result.human = objects_table(rows);
  return result;
}

}  // namespace arkit::cli
