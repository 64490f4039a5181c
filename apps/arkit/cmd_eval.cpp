#include <arkit/engine/resident_jobs.h>
#include <arkit/error.h>

#include "command.h"
#include "read_options.h"
#include "render.h"

namespace arkit::cli {

Result cmd_eval_ppl(const Arguments& arguments, Plugins& plugins, Reporter& reporter) {
  EvalOptions options;
  options.model = arguments.positional(0);
  read_options(options, arguments);
  if (options.text_file.empty() && options.ids_file.empty())
    throw_usage("'arkit eval ppl' needs --text FILE or --ids FILE: what to measure the perplexity on");
  Result result;
  result.json = evaluate_perplexity(options, read_resident(arguments), plugins.registry(), reporter);
  result.human = describe_object(result.json);
  return result;
}

Result cmd_eval_kl(const Arguments& arguments, Plugins& plugins, Reporter& reporter) {
  DivergenceOptions options;
  options.model = arguments.positional(0);
  read_options(options, arguments);
  Result result;
  result.json = evaluate_divergence(options, read_resident(arguments), plugins.registry(), reporter);
  result.human = describe_object(result.json);
  return result;
}

Result cmd_eval_lambada(const Arguments& arguments, Plugins& plugins, Reporter& reporter) {
  LastWordOptions options;
  options.model = arguments.positional(0);
  read_options(options, arguments);
  if (options.file.empty()) throw_usage("'arkit eval lambada' needs --file FILE: JSON lines with a \"text\" each");
  Result result;
  result.json = evaluate_last_words(options, read_resident(arguments), plugins.registry(), reporter);
  result.human = describe_object(result.json);
  return result;
}

}  // namespace arkit::cli
