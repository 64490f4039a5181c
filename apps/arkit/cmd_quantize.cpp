#include <optional>

#include <arkit/engine/jobs.h>
#include <arkit/engine/resolved_options.h>
#include <arkit/error.h>
#include <arkit/str.h>

#include "command.h"
#include "quantize_options.h"
#include "save_config.h"
#include "task_arguments.h"

namespace arkit::cli {

namespace {

// The last of the formats, as AutoRound has it. Whatever happens here, the export is there and is said to be.
void evaluate(TaskEvaluation& evaluation, const QuantizeOptions& options, Result& result, Plugins& plugins,
              Reporter& reporter) {
  TaskModelOptions model;
  model.model = result.json.at("outputs").as_array().back().at("output_dir").as_string();
  if (options.device_map != QuantizeOptions().device_map) model.device = options.device_map;
  try {
    json::Object tasks = evaluation.run(model, plugins.registry(), reporter);
    result.human += "\n" + describe_tasks(tasks);
    result.exit_code = task_exit_code(tasks);
    result.json["evaluation"] = std::move(tasks);
  } catch (const Error& error) {
    throw Error(error.code(), str(error.what(), "; ", result.kept));
  }
}

}  // namespace

Result cmd_quantize(const Arguments& arguments, Plugins& plugins, Reporter& reporter) {
  QuantizeOptions given = quantize_options(arguments);
  settle_formats(given, arguments, plugins.registry());
  const QuantizeOptions& options = given;
  refuse_gguf(options, plugins.registry());
  // What evaluation needs is known to be there before hours of quantization.
  const TaskOptions tasks = read_task_options(arguments, options.model, reporter);
  std::optional<TaskEvaluation> evaluation;
  if (!tasks.tasks.empty()) evaluation.emplace(tasks, reporter);
  if (const auto file = arguments.text("save_config"))
    save_config(*file, *find_command("quantize"), resolved_options(options, plugins.registry()));
  Result result;
  result.json = quantize(options, plugins.registry(), reporter);
  result.human = describe_run(result.json, "options");
  result.kept = kept_exports(result.json);
  if (evaluation && !options.dry_run) evaluate(*evaluation, options, result, plugins, reporter);
  return result;
}

}  // namespace arkit::cli
