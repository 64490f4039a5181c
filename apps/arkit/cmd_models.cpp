#include <filesystem>

#include <arkit/engine/family_job.h>
#include <arkit/error.h>
#include <arkit/part_file.h>
#include <arkit/str.h>

#include "command.h"

namespace arkit::cli {

Result cmd_models_new(const Arguments& arguments, Plugins&, Reporter& reporter) {
  Plugins::refuse(arguments);
  const DraftedFamily draft = draft_family_file(arguments.positional(0), reporter);
  const std::string output = arguments.text("output").value_or("");
  json::Array open;
  for (const std::string& sentence : draft.open) open.emplace_back(sentence);
  Result result;
  result.json = {{"family", draft.toml}, {"open", std::move(open)}, {"from_tensors", draft.from_tensors}};
  for (const std::string& sentence : draft.open) reporter.warn(str("not inferred: ", sentence));
  if (output.empty()) {
    result.human = draft.toml;
    return result;
  }
  const std::filesystem::path path = std::filesystem::absolute(output).lexically_normal();
  if (std::error_code failed; std::filesystem::exists(path, failed))
    throw_usage(str("--output '", printable(path.string(), 1000), "' exists; choose another name, or remove it"));
  write_file(path, draft.toml);
  result.json["output"] = path.string();
  result.human = str("wrote ", printable(path.string(), 1000), "\nread it, settle what is open, then: arkit forward ",
                     "MODEL --family ", output, ", and compare the logits with the reference's\n");
  result.kept = str("the family file is complete: '", path.string(), "'");
  return result;
}

}  // namespace arkit::cli
