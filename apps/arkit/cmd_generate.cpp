#include <cstdio>

#include <unistd.h>

#include <arkit/engine/chat.h>
#include <arkit/error.h>

#include "command.h"
#include "read_options.h"
#include "render.h"
#include "text_output.h"

namespace arkit::cli {
namespace {

// Behind text that was shown as it came, also where an error is said next.
struct LineEnd {
  LineEnd() = default;
  LineEnd(const LineEnd&) = delete;
  LineEnd& operator=(const LineEnd&) = delete;
  ~LineEnd() {
    std::fputs("\n", stdout);
    std::fflush(stdout);
  }
};

}  // namespace

Result cmd_generate(const Arguments& arguments, Plugins& plugins, Reporter& reporter) {
  GenerateOptions options;
  options.model = arguments.positional(0);
  read_options(options, arguments);
  if (options.prompts.empty()) throw_usage("'arkit generate' needs --prompt TEXT");
  Result result;
  result.verbatim = true;
  if (!arguments.flag("json") && options.prompts.size() == 1 && ::isatty(STDOUT_FILENO) == 1) {
    const LineEnd line_end;
    result.json = generate(options, write_piece, plugins.registry(), reporter);
    return result;
  }
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
