#include <arkit/error.h>
#include <arkit/jobs.h>

#include "command.h"
#include "render.h"

namespace arkit::cli {

Result cmd_eval_ppl(const Arguments& arguments, Plugins& plugins, Reporter& reporter) {
  EvalOptions options;
  options.model = arguments.positional(0);
  set_if(options.text_file, arguments.text("text"));
  set_if(options.ids_file, arguments.text("ids"));
  if (options.text_file.empty() && options.ids_file.empty())
    throw_usage("'arkit eval ppl' needs --text FILE or --ids FILE: what to measure the perplexity on");
  set_if(options.against, arguments.text("against"));
  set_if(options.seqlen, arguments.integer("seqlen"));
  options.max_windows = arguments.integer("max_windows");
  set_if(options.batch_size, arguments.integer("batch_size"));
  set_if(options.dtype, arguments.text("dtype"));
  set_if(options.backend, arguments.text("backend"));
  Result result;
  result.json = evaluate_perplexity(options, plugins.registry(), reporter);
  result.human = describe_object(result.json);
  return result;
}

}  // namespace arkit::cli
