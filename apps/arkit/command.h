#pragma once
// What a command is to the part that runs it, and the commands themselves (one cmd_*.cpp each).

#include <functional>
#include <string>
#include <string_view>

#include <arkit/json.h>
#include <arkit/log.h>
#include <arkit/registry.h>

#include "arguments.h"

namespace arkit::cli {

struct Result {
  json::Object json;      // what --json prints, schema_version added
  std::string human;      // what people see on stdout; control characters are escaped there
  bool verbatim = false;  // not when stdout is a file or a pipe: the text of a model is the result
  int exit_code = 0;
  std::string kept;  // "the export is complete: ...": what the command was asked to make is there, printed or not
};

// "the export is complete: 'a', 'b'" of what quantize and convert return; empty after a dry run.
[[nodiscard]] std::string kept_exports(const json::Object& result);
// For people: what a quantization or a conversion gave, but for `left_out`. A plan is called one.
[[nodiscard]] std::string describe_run(const json::Object& result, std::string_view left_out);

// Plugins are loaded on first use, so that `plugin inspect` and `plugin new` work with broken ones around.
class Plugins {
 public:
  explicit Plugins(const Arguments& arguments)
      : named_(arguments.texts("plugin")), families_(arguments.texts("family")) {}
  [[nodiscard]] const Registry& registry();
  // Of commands that need none: --plugin and --family would do nothing.
  static void refuse(const Arguments& arguments);

 private:
  std::vector<std::string> named_, families_;
  std::unique_ptr<Registry> registry_;
};

using CommandFunction = Result (*)(const Arguments&, Plugins&, Reporter&);

[[nodiscard]] Result cmd_quantize(const Arguments& arguments, Plugins& plugins, Reporter& reporter);
[[nodiscard]] Result cmd_autoscheme(const Arguments& arguments, Plugins& plugins, Reporter& reporter);
[[nodiscard]] Result cmd_bench(const Arguments& arguments, Plugins& plugins, Reporter& reporter);
[[nodiscard]] Result cmd_list(const Arguments& arguments, Plugins& plugins, Reporter& reporter);
[[nodiscard]] Result cmd_inspect(const Arguments& arguments, Plugins& plugins, Reporter& reporter);
[[nodiscard]] Result cmd_eval_kl(const Arguments& arguments, Plugins& plugins, Reporter& reporter);
[[nodiscard]] Result cmd_eval_lambada(const Arguments& arguments, Plugins& plugins, Reporter& reporter);
[[nodiscard]] Result cmd_eval_lm(const Arguments& arguments, Plugins& plugins, Reporter& reporter);
[[nodiscard]] Result cmd_eval_ppl(const Arguments& arguments, Plugins& plugins, Reporter& reporter);
[[nodiscard]] Result cmd_generate(const Arguments& arguments, Plugins& plugins, Reporter& reporter);
[[nodiscard]] Result cmd_chat(const Arguments& arguments, Plugins& plugins, Reporter& reporter);
[[nodiscard]] Result cmd_forward(const Arguments& arguments, Plugins& plugins, Reporter& reporter);
[[nodiscard]] Result cmd_serve(const Arguments& arguments, Plugins& plugins, Reporter& reporter);
[[nodiscard]] Result cmd_tokenize(const Arguments& arguments, Plugins& plugins, Reporter& reporter);
[[nodiscard]] Result cmd_verify(const Arguments& arguments, Plugins& plugins, Reporter& reporter);
[[nodiscard]] Result cmd_reproduce(const Arguments& arguments, Plugins& plugins, Reporter& reporter);
[[nodiscard]] Result cmd_convert(const Arguments& arguments, Plugins& plugins, Reporter& reporter);
[[nodiscard]] Result cmd_diff(const Arguments& arguments, Plugins& plugins, Reporter& reporter);
[[nodiscard]] Result cmd_gguf_show(const Arguments& arguments, Plugins& plugins, Reporter& reporter);
[[nodiscard]] Result cmd_gguf_set_metadata(const Arguments& arguments, Plugins& plugins, Reporter& reporter);
[[nodiscard]] Result cmd_gguf_split(const Arguments& arguments, Plugins& plugins, Reporter& reporter);
[[nodiscard]] Result cmd_gguf_merge(const Arguments& arguments, Plugins& plugins, Reporter& reporter);
[[nodiscard]] Result cmd_models_new(const Arguments& arguments, Plugins& plugins, Reporter& reporter);
[[nodiscard]] Result cmd_plugin_inspect(const Arguments& arguments, Plugins& plugins, Reporter& reporter);
[[nodiscard]] Result cmd_plugin_new(const Arguments& arguments, Plugins& plugins, Reporter& reporter);

}  // namespace arkit::cli
