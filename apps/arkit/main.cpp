// The front of the command line: parses, explains, and only then opens the half that works.
#include <algorithm>
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

#include "command_line.h"
#include "completions.h"
#include "early_signals.h"
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

int answer(const std::vector<std::string>& arguments) {
  using Kind = arkit::cli::Request::Kind;
  arkit::cli::Request request = arkit::cli::parse_command_line(arguments);
  if (request.kind == Kind::version) return print("arkit " ARKIT_VERSION "\n");
  if (request.kind == Kind::help)
    return print(request.command == nullptr ? arkit::cli::overview() : arkit::cli::command_help(*request.command));
  if (request.kind == Kind::completions) return print(arkit::cli::completions(request.parsed.positionals.front()));
  if (request.kind == Kind::manual) return answer_manual(request);
  const std::filesystem::path folder = arkit::cli::program_folder();
  request.parsed.program_dir = folder.string();
  return arkit::cli::load_cli(folder)(request.parsed);
}

}  // namespace

int main(int argc, char** argv) {
  open_missing_descriptors();
  const std::vector<std::string> arguments(argv + (argc > 0 ? 1 : 0), argv + argc);
  const bool json = std::any_of(arguments.begin(), arguments.end(),
                                [](const std::string& word) { return word == "--json" || word == "--json=true"; });
  arkit::cli::end_on_signals(json);
  try {
    return answer(arguments);
  } catch (const arkit::Error& error) {
    return arkit::cli::report_error(error.exit_code(), error.what(), json);
  } catch (const std::filesystem::filesystem_error& error) {
    return arkit::cli::report_error(static_cast<int>(arkit::ErrorCode::input),
                                    arkit::str("'", arkit::printable(error.path1().string(), 400),
                                               "': ", error.code().message(), "; give a path that exists"),
                                    json);
  } catch (const std::exception& error) {
    return arkit::cli::report_error(static_cast<int>(arkit::ErrorCode::internal), error.what(), json);
  }
}
