// `arkit eval lm`: tasks of lm-eval.
#include <arkit/error.h>
#include <arkit/str.h>

#include "read_options.h"
#include "render.h"
#include "task_arguments.h"

namespace arkit::cli {

TaskOptions read_task_options(const Arguments& arguments, const std::string& model, Reporter& reporter) {
  TaskOptions options;
  read_options(options, arguments);
  if (options.tasks.empty() && arguments.parsed().command == "eval lm")
    options.tasks = split(std::string(kUsualTasks), ',');
  if (!options.tasks.empty()) {
    if (!arguments.either("add_bos_token", "no_add_bos_token") && lower(model).find("llama") != std::string::npos) {
      options.add_bos_token = true;
      reporter.warn(
          "'llama' is in the model's name: texts of tasks begin with the tokenizer's special tokens; "
          "--no_add_bos_token leaves them out");
    }
    return options;
  }
  for (const OptionOf<TaskOptions>& one : option_table<TaskOptions>())
    if (!std::holds_alternative<std::monostate>(given_value(one.row, arguments)))
      throw_usage(str("--", one.row.name, " has no effect without --tasks; leave it out or name tasks"));
  return options;
}

std::string describe_tasks(const json::Object& evaluation) {
  std::string text(evaluation.at("table").as_string());
  return text + describe_object(evaluation,
                                {"table", "results", "groups", "versions", "n-shot", "n-samples", "higher_is_better"});
}

int task_exit_code(const json::Object& evaluation) {
  return evaluation.at("failed").as_array().empty() ? 0 : static_cast<int>(ErrorCode::resource);
}

Result cmd_eval_lm(const Arguments& arguments, Plugins& plugins, Reporter& reporter) {
  TaskModelOptions model;
  model.model = arguments.positional(0);
  read_options(model, arguments);
  TaskEvaluation evaluation(read_task_options(arguments, model.model, reporter), reporter);
  Result result;
  result.json = evaluation.run(model, plugins.registry(), reporter);
  result.human = describe_tasks(result.json);
  result.exit_code = task_exit_code(result.json);
  return result;
}

}  // namespace arkit::cli
