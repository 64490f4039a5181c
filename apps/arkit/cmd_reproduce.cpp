#include <arkit/engine/reproduce.h>
#include <arkit/error.h>
#include <arkit/str.h>

#include "command.h"
#include "read_options.h"

namespace arkit::cli {
namespace {

std::string lines(const json::Object& result, const char* key) {
  std::string text;
  for (const json::Value& line : result.at(key).as_array()) text += str("  ", line.as_string().c_str(), "\n");
  return text;
}

std::string render(const json::Object& result, bool dry_run) {
  const size_t differences = result.at("differences").as_array().size();
  std::string text = differences == 0 ? "versions, plugins, model and data are as recorded\n"
                                      : str(differences, differences == 1 ? " thing is" : " things are",
                                            " not as recorded\n", lines(result, "differences"));
  if (!result.at("ran").as_bool())
    return text + (differences == 0 || dry_run ? "nothing was run\n" : "nothing was run; --allow_changed runs it\n");
  const size_t unequal = result.at("unequal").as_array().size();
  const auto files = result.at("files").to_number<size_t>();
  text += unequal == 0 ? str("all ", files, " files are the same")
                       : str(unequal, " of ", files, unequal == 1 ? " files is not" : " files are not", " the same");
  return str(text, ": ", result.at("output_dir").as_string().c_str(), "\n", lines(result, "unequal"));
}

}  // namespace

Result cmd_reproduce(const Arguments& arguments, Plugins& plugins, Reporter& reporter) {
  ReproduceOptions options;
  options.directory = arguments.positional(0);
  read_options(options, arguments);
  Result result;
  result.json = reproduce(options, plugins.registry(), reporter);
  result.human = render(result.json, options.dry_run);
  const bool as_recorded = result.json.at("differences").as_array().empty() || options.allow_changed;
  const bool equal = !result.json.at("ran").as_bool() || result.json.at("equal").as_bool();
  if (!as_recorded || !equal) result.exit_code = static_cast<int>(ErrorCode::verification);
  return result;
}

}  // namespace arkit::cli
