// The front of the command line: parses, explains, and only then opens the half that works.
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <string>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include <arkit/error.h>
#include <arkit/str.h>

#include "called_as.h"
#include "command_line.h"
#include "completions.h"
#include "early_signals.h"
#include "environment.h"
#include "error_report.h"
#include "help.h"
#include "load_cli.h"
#include "manual.h"

namespace {

// Whoever starts a program without one of the three descriptors gives their numbers to the first files it opens, and
// text for a terminal would go into a model.
void open_missing_descriptors() {
  for (int descriptor = STDIN_FILENO; descriptor <= STDERR_FILENO; ++descriptor)
    if (::fcntl(descriptor, F_GETFD) == -1 && errno == EBADF && ::open("/dev/null", O_RDWR) < 0)
      std::_Exit(static_cast<int>(arkit::ErrorCode::resource));  // and nobody could be told
}

int print(const std::string& text) {
  const bool written = std::fputs(text.c_str(), stdout) >= 0 && std::fflush(stdout) == 0;
  if (!written) std::fputs("arkit: standard output cannot be written\n", stderr);
  return written ? 0 : static_cast<int>(arkit::ErrorCode::resource);
}

int answer_manual(const arkit::cli::Request& request) {
  const auto folder = request.parsed.values.find("output_dir");
  if (folder == request.parsed.values.end())
    return print(request.command == nullptr ? arkit::cli::manual_page() : arkit::cli::manual_page(*request.command));
  if (request.command != nullptr)
    arkit::throw_usage("--output_dir takes the pages of all commands; leave it or the command's name out");
  arkit::cli::write_manual(folder->second.front());
  return 0;
}

std::string help_text(const arkit::cli::Request& request) {
  if (request.command != nullptr) return arkit::cli::command_help(*request.command);
  return request.group.empty() ? arkit::cli::overview() : arkit::cli::group_help(request.group);
}

// Errors can be wrong in any word, so what they should look like is found without parsing.
arkit::cli::ErrorStyle error_style(const std::vector<std::string>& words) {
  arkit::cli::ErrorStyle style;
  for (size_t i = 0; i < words.size(); ++i) {
    style.json = style.json || words[i] == "--json" || words[i] == "--json=true";
    style.events = style.events || words[i] == "--progress=json" ||
                   (words[i] == "--progress" && i + 1 < words.size() && words[i + 1] == "json");
  }
  return style;
}

int answer(const arkit::cli::CalledAs& program, const std::vector<std::string>& arguments) {
  using Kind = arkit::cli::Request::Kind;
  arkit::cli::Request request = arkit::cli::parse_command_line(arguments, program);
  if (request.kind == Kind::version) return print("arkit " ARKIT_VERSION "\n");
  if (request.kind == Kind::help) return print(help_text(request));
  if (request.kind == Kind::completions) return print(arkit::cli::completions(request.parsed.positionals.front()));
  if (request.kind == Kind::manual) return answer_manual(request);
  const std::filesystem::path folder = arkit::cli::program_folder();
  request.parsed.program_dir = folder.string();
  arkit::cli::apply_thread_count();
  return arkit::cli::load_cli(folder)(request.parsed);
}

int run(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + (argc > 0 ? 1 : 0), argv + argc);
  const arkit::cli::ErrorStyle style = error_style(arguments);
  arkit::cli::end_on_signals(style);
  try {
    return answer(arkit::cli::called_as(argc > 0 ? argv[0] : ""), arguments);
  } catch (const arkit::Error& error) {
    return arkit::cli::report_error(error.exit_code(), error.what(), style);
  } catch (const std::filesystem::filesystem_error& error) {
    return arkit::cli::report_error(static_cast<int>(arkit::ErrorCode::input),
                                    arkit::str("'", arkit::printable(error.path1().string(), 400),
                                               "': ", error.code().message(), "; give a path that exists"),
                                    style);
  } catch (const std::exception& error) {
    return arkit::cli::report_error(static_cast<int>(arkit::ErrorCode::internal), error.what(), style);
  }
}

}  // namespace

int main(int argc, char** argv) {
  open_missing_descriptors();
  const int code = run(argc, argv);
#ifndef __SANITIZE_ADDRESS__
  // What must be undone is undone; taking LibTorch apart again would only cost the user a tenth of a second.
  if (std::fflush(nullptr) == 0) std::_Exit(code);
#endif
  return code;
}
