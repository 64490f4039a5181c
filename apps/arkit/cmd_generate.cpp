#include <arkit/error.h>
#include <arkit/jobs.h>
#include <arkit/str.h>

#include "command.h"
#include "compute_options.h"
#include "render.h"

namespace arkit::cli {
namespace {

// Text of a model for a terminal: line breaks and tabs stay, other control characters are escaped.
std::string readable(std::string_view text) {
  std::string out;
  for (const std::string& line : split(text, '\n')) {
    if (!out.empty()) out += "\n";
    for (const std::string& part : split(line, '\t')) out += printable(part, 1 << 20);
  }
  return out;
}

}  // namespace

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
  result.json = generate(options, plugins.registry(), reporter);
  const json::Value* outputs = result.json.if_contains("outputs");
  if (outputs == nullptr || !outputs->is_array()) {
    result.human = describe_object(result.json);
    return result;
  }
  for (const json::Value& output : outputs->get_array()) {
    const json::Value* text = output.is_object() ? output.get_object().if_contains("text") : nullptr;
    if (text != nullptr && text->is_string()) result.human += readable(text->get_string()) + "\n";
  }
  return result;
}

}  // namespace arkit::cli
