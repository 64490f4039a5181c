#include <arkit/engine/jobs.h>
#include <arkit/error.h>

#include "command.h"
#include "compute_options.h"
#include "render.h"

namespace arkit::cli {
Result cmd_generate(const Arguments& arguments, Plugins& plugins, Reporter& reporter) {
  GenerateOptions options;
  options.model = arguments.positional(0);
  options.prompts = arguments.texts("prompt");
  if (options.prompts.empty()) throw_usage("'arkit generate' needs --prompt TEXT");
  set_if(options.max_new_tokens, arguments.integer("max_new_tokens"));
  set_if(options.temperature, arguments.number("temperature"));
  set_if(options.top_p, arguments.number("top_p"));
  set_if(options.top_k, arguments.integer("top_k"));
  set_if(options.seed, arguments.integer("seed"));
  options.chat = arguments.flag("chat");
  read_compute_options(options, arguments);
  Result result;
  result.verbatim = true;
  result.json = generate(options, plugins.registry(), reporter);
  const json::Value* outputs = result.json.if_contains("outputs");
  if (outputs == nullptr || !outputs->is_array()) {
    result.human = describe_object(result.json);
    return result;
  }
  for (const json::Value& output : outputs->get_array()) {
    const json::Value* text = output.is_object() ? output.get_object().if_contains("text") : nullptr;
    if (text != nullptr && text->is_string()) result.human += std::string(text->get_string()) + "\n";
  }
  return result;
}

}  // namespace arkit::cli
