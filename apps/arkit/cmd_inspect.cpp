#include <arkit/engine/reported_jobs.h>

#include "command.h"
#include "render.h"

namespace arkit::cli {
namespace {

// Takes the verdicts out of the rows of packed layers: one line a kind of layer and backend.
std::string verdicts_text(json::Object& report) {
  json::Array lines;
  json::Value* packed = report.if_contains("packed");
  if (packed == nullptr) return {};
  for (json::Value& value : packed->as_array()) {
    json::Object& row = value.as_object();
    for (const json::Value& verdict : row.at("backends").as_array()) {
      json::Object line{{"packing", row.at("packing")}, {"scheme", row.at("scheme")}};
      for (const auto& [key, member] : verdict.as_object()) line[key] = member;
      lines.push_back(std::move(line));
    }
    row.erase("backends");
  }
  return lines.empty() ? std::string() : "\nbackends\n" + objects_table(lines);
}

}  // namespace

Result cmd_inspect(const Arguments& arguments, Plugins& plugins, Reporter& reporter) {
  Result result;
  result.json = inspect_model(arguments.positional(0), plugins.registry(), reporter);
  json::Object shown = result.json;
  const std::string verdicts = verdicts_text(shown);
  // Thousands of tensors belong to --verbose and --json.
  const bool verbose = arguments.flag("verbose");
  result.human =
      describe_object(shown, verbose ? std::vector<std::string>{} : std::vector<std::string>{"tensors"}) + verdicts;
  return result;
}

}  // namespace arkit::cli
