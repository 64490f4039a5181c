// The half that works: finds the command's function, runs it, prints its result, and turns every exception into a
// message and an exit code.
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <new>
#include <system_error>

#include <unistd.h>

#include <c10/util/Exception.h>

#include <arkit/error.h>
#include <arkit/escape.h>
#include <arkit/inference_backend.h>
#include <arkit/lost_file.h>
#include <arkit/str.h>

#include "command.h"
#include "commands.h"
#include "error_report.h"
#include "hub_name.h"
#include "render.h"
#include "terminal_reporter.h"

namespace arkit::cli {

std::string kept_exports(const json::Object& result) {
  if (result.contains("dry_run")) return {};
  std::string folders;
  for (const json::Value& output : result.at("outputs").as_array())
    folders += str(folders.empty() ? "'" : ", '", std::string_view(output.at("output_dir").as_string()), "'");
  return str("the export is complete: ", folders);
}

std::string describe_run(const json::Object& result, std::string_view left_out) {
  const std::string text = describe_object(result, {std::string(left_out), "dry_run"});
  return result.contains("dry_run") ? "a plan: nothing was written (dry_run)\n\n" + text : text;
}

const Registry& Plugins::registry() {
  if (registry_) return *registry_;
  registry_ = std::make_unique<Registry>(default_search(named_, families_));
  // A fault in a family file ends the command, also where it could do without a family and would go on as if there
  // were none. What else an adapter has to complain about, it says when it is used.
  for (const std::string& name : registry_->names(Kind::model)) try {
      (void)registry_->model(name);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::input) throw;
    }
  return *registry_;
}

void Plugins::refuse(const Arguments& arguments) {
  for (const char* option : {"plugin", "family"})
    if (arguments.given(option))
      throw_usage(str("'arkit ", arguments.parsed().command, "' loads no plugins; leave --", option, " out"));
}

namespace {

struct Entry {
  std::string_view name;
  CommandFunction function;
};
constexpr Entry kCommands[] = {
    {"quantize", cmd_quantize},
    {"autoscheme", cmd_autoscheme},
    {"bench", cmd_bench},
    {"list", cmd_list},
    {"inspect", cmd_inspect},
    {"eval ppl", cmd_eval_ppl},
    {"eval kl", cmd_eval_kl},
    {"eval lambada", cmd_eval_lambada},
    {"eval lm", cmd_eval_lm},
    {"generate", cmd_generate},
    {"chat", cmd_chat},
    {"serve", cmd_serve},
    {"forward", cmd_forward},
    {"tokenize", cmd_tokenize},
    {"verify", cmd_verify},
    {"reproduce", cmd_reproduce},
    {"convert", cmd_convert},
    {"diff", cmd_diff},
    {"gguf show", cmd_gguf_show},
    {"gguf set-metadata", cmd_gguf_set_metadata},
    {"gguf split", cmd_gguf_split},
    {"gguf merge", cmd_gguf_merge},
    {"models new", cmd_models_new},
    {"plugin new", cmd_plugin_new},
    {"plugin inspect", cmd_plugin_inspect},
};

CommandFunction find_function(const std::string& name) {
  for (const Entry& entry : kCommands)
    if (entry.name == name) return entry.function;
  throw_unsupported(str("'arkit ", name, "' is not in this build"));
}

extern "C" void on_interrupt(int) {
  request_interrupt();
}

// The first signal asks for a clean stop, a second one ends the process (SA_RESETHAND). A file that grows over a limit
// and a reader of progress that went away are write errors, not signals.
void watch_signals() {
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  struct sigaction hangup {};
  ::sigaction(SIGHUP, nullptr, &hangup);
  if (hangup.sa_handler != SIG_IGN) ::sigaction(SIGHUP, &action, nullptr);  // nohup's wish stands
  std::signal(SIGXFSZ, SIG_IGN);
  std::signal(SIGPIPE, SIG_IGN);
  watch_mapped_files();
}

// False, with errno: nobody gets to see all of it.
bool print_result(const Arguments& arguments, Result& result) {
  // The one place where results leave: whatever came from files, models and plugins is made harmless here.
  std::string text = result.verbatim && ::isatty(STDOUT_FILENO) == 0 ? result.human : escape_terminal(result.human);
  if (arguments.flag("json")) {
    json::Object object{{"schema_version", 1}};
    for (auto& [key, value] : result.json) object[key] = std::move(value);
    text = escape_json(json::dump(object, 2)) + "\n";
  }
  return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
}

// What a script wants to know is whether what it asked for is there: files, or the text that is lost.
int report_unprinted(const Result& result, bool json, int error, Reporter& reporter) {
  const std::string lost = str("standard output cannot be written (", lower(std::strerror(error)), ")");
  if (!result.kept.empty() && !json) {
    reporter.warn(str(lost, "; ", result.kept));
    return result.exit_code;
  }
  if (result.kept.empty() && error == EPIPE) {  // "arkit list formats | head -1" ends as any other program there
    std::signal(SIGPIPE, SIG_DFL);
    std::raise(SIGPIPE);
  }
  throw_resource(str(lost, result.kept.empty() ? "" : "; ", result.kept, "; make room, or send it elsewhere"));
}

// What to lower helps where something can be lowered; a file may also claim more than it holds.
std::string out_of_memory(const ParsedCommand& parsed) {
  const Command* command = find_command(parsed.command);
  std::string lower;
  for (const char* name : {"batch_size", "seqlen", "nsamples"})
    if (command != nullptr && find_option(*command, name) != nullptr)
      lower += str(lower.empty() ? "" : " or ", "--", name);
  return str("out of memory; close other programs", lower.empty() ? "" : ", lower " + lower,
             ", and if the model is small, look at its files with 'arkit inspect': one may claim more than it holds");
}

// A path that the file system refuses where nobody expected it.
std::string file_trouble(const std::filesystem::filesystem_error& error) {
  const std::string path = error.path1().string();
  return str(path.empty() ? "a file or folder" : str("'", printable(path, 400), "'"), ": ",
             lower(error.code().message()), "; give a path that exists and may be read or written");
}

int run_guarded(const ParsedCommand& parsed) {
  const Arguments arguments(parsed);
  const bool json = arguments.flag("json");
  const ProgressStyle progress = progress_style(arguments.text("progress").value_or("auto"));
  const ErrorStyle style{.json = json, .events = progress == ProgressStyle::events};
  const bool verbose = arguments.flag("verbose");
  const auto fail = [&](ErrorCode code, const std::string& message) {
    // Zeros in place of a file that was cut short may have looked like any other fault.
    const std::string lost = lost_file();
    if (!lost.empty()) return report_error(static_cast<int>(ErrorCode::input), lost, style);
    return report_error(static_cast<int>(code), message, style);
  };
  try {
    (void)host_info();  // a wrong ARKIT_CPU is an error of every command
    TerminalReporter reporter(progress, arguments.flag("quiet"), verbose);
    for (const std::string& note : parsed.notes) reporter.info(note);
    const ParsedCommand named = with_hub(parsed);
    const Arguments complete(named);
    Plugins plugins(complete);
    Result result = find_function(parsed.command)(complete, plugins, reporter);
    throw_if_file_lost();
    reporter.finish();
    const int code =
        print_result(complete, result) ? result.exit_code : report_unprinted(result, json, errno, reporter);
    reporter.ended(code);
    return code;
  } catch (const Error& error) {
    return fail(error.code(), error.what());
  } catch (const c10::Error& error) {
    const std::string message = verbose ? error.what() : error.what_without_backtrace();
    const bool memory = message.find("can't allocate memory") != std::string::npos;
    return memory && !verbose ? fail(ErrorCode::resource, out_of_memory(parsed))
                              : fail(memory ? ErrorCode::resource : ErrorCode::internal, message);
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::resource, out_of_memory(parsed));
  } catch (const std::filesystem::filesystem_error& error) {
    return fail(ErrorCode::input, file_trouble(error));
  } catch (const std::system_error& error) {
    return fail(ErrorCode::resource, str("the system refused something: ", error.code().message()));
  } catch (const std::exception& error) {
    return fail(ErrorCode::internal, str(error.what(), " (this is a bug in arkit or in a plugin)"));
  } catch (...) {
    return fail(ErrorCode::internal,
                "something was thrown that is no exception (this is a bug in arkit or in a plugin)");
  }
}

}  // namespace

extern "C" ARKIT_EXPORT int arkit_cli_run(const ParsedCommand& command) {
  watch_signals();
  return run_guarded(command);
}

}  // namespace arkit::cli
