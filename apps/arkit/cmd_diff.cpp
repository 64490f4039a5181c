#include <algorithm>

#include <arkit/engine/resident_jobs.h>
#include <arkit/error.h>
#include <arkit/str.h>

#include "command.h"
#include "read_options.h"
#include "render.h"

namespace arkit::cli {
namespace {

constexpr size_t kRows = 12;  // of a table for people; --json has all, and --verbose

bool differs(const json::Value& layer) {
  return layer.at("relative").to_number<double>() != 0.0 || layer.as_object().contains("note");
}

// What people see of a report: both sides as a table, only layers that differ, and of long tables the first rows.
json::Object for_people(const json::Object& report, bool all) {
  json::Object shown = report;
  json::Array sides;
  for (const char* side : {"a", "b"}) {
    json::Object row{{"side", side}};
    for (const auto& member : report.at(side).as_object()) row[member.key()] = member.value();
    sides.push_back(std::move(row));
    shown.stable_erase(shown.find(side));
  }
  for (const char* key : {"layers", "tensors", "config"}) {
    json::Array& rows = shown.at(key).as_array();
    if (std::string_view(key) == "layers" && !all)
      rows.erase(std::remove_if(rows.begin(), rows.end(), [](const json::Value& row) { return !differs(row); }),
                 rows.end());
    if (rows.size() > kRows && !all) {
      shown[str("more_", key)] = str(rows.size() - kRows, " (--verbose shows them)");
      rows.erase(rows.begin() + kRows, rows.end());
    }
    if (rows.empty()) shown.stable_erase(shown.find(key));
  }
  shown["sides"] = std::move(sides);
  return shown;
}

}  // namespace

Result cmd_diff(const Arguments& arguments, Plugins& plugins, Reporter& reporter) {
  DiffOptions options;
  options.a = arguments.positional(0);
  options.b = arguments.positional(1);
  read_options(options, arguments);
  Result result;
  result.json = diff(options, read_resident(arguments), plugins.registry(), reporter);
  result.human = describe_object(for_people(result.json, arguments.flag("verbose")));
  if (arguments.flag("exit_code") && !result.json.at("equal").as_bool())
    result.exit_code = static_cast<int>(ErrorCode::verification);
  return result;
}

}  // namespace arkit::cli
