// `arkit chat`: lines in, answers out.
#include <string>
#include <string_view>

#include <unistd.h>

#include <arkit/engine/chat.h>
#include <arkit/error.h>
#include <arkit/log.h>
#include <arkit/str.h>

#include "command.h"
#include "line_reader.h"
#include "read_options.h"
#include "text_output.h"

namespace arkit::cli {
namespace {

constexpr std::string_view kHelp = R"(/reset        forget the conversation, not the system message
/system TEXT  set the system message; without TEXT there is none
/help         this list
/exit         leave, as the end of input (Ctrl-D) does
"""           begins and ends a message of several lines
Ctrl-C        stops an answer; twice at the prompt: leaves
A message that begins with '/' needs a blank before it.
)";

constexpr std::string_view kFence = "\"\"\"";

class Talk {
 public:
  Talk(const Arguments& arguments, Chat& chat, Reporter& reporter)
      : chat_(chat),
        reporter_(reporter),
        json_(arguments.flag("json")),
        person_(::isatty(STDIN_FILENO) == 1),
        prompts_(person_ && !json_ && ::isatty(STDOUT_FILENO) == 1),
        signals_(person_),
        reader_(signals_) {}

  json::Array go_on() {
    if (person_) reporter_.info("/help lists commands; Ctrl-D leaves");
    std::string text;
    for (bool goes_on = true; goes_on && line("> ", text);) {
      if (text.starts_with(kFence))
        goes_on = say_lines(text.substr(kFence.size()));
      else
        goes_on = obey(text);
    }
    return std::move(turns_);
  }

 private:
  // A message of several lines, which begins with `message`; false at the end.
  bool say_lines(std::string message) {
    std::string more;
    while (!message.ends_with(kFence)) {
      if (!line("... ", more)) {
        complain(str("the input ends inside a message that began with ", kFence, "; end it with another one"));
        return false;
      }
      message += "\n" + more;
    }
    say(message.substr(0, message.size() - kFence.size()));
    return true;
  }

  bool line(std::string_view prompt, std::string& text) {
    for (bool again = false;; again = true) {
      if (prompts_) write_piece(prompt);
      const LineReader::Outcome outcome = reader_.next(text);
      if (outcome == LineReader::Outcome::line) return true;
      if (prompts_) write_piece("\n");
      if (outcome == LineReader::Outcome::end) return false;
      stop_where_asked();
      if (again) return false;
      reporter_.info("Ctrl-C once more, or Ctrl-D, leaves");
    }
  }

  // Ctrl-C of a person stops what is being done; every other signal, and one in a script, the program.
  void stop_where_asked() {
    if (!person_ || signals_.must_end()) throw_if_interrupted();
    signals_.forget();
  }

  // False = leave.
  bool obey(const std::string& line) {
    if (line.find_first_not_of(" \t") == std::string::npos) return true;
    if (!line.starts_with('/')) {
      say(line);
      return true;
    }
    const size_t blank = line.find(' ');
    const std::string word = line.substr(0, blank), rest = blank == line.npos ? "" : line.substr(blank + 1);
    if (word == "/exit") return false;
    if (word == "/system")
      chat_.set_system(rest);
    else if (word == "/reset")
      chat_.reset();
    else if (word == "/help")
      help();
    else
      complain(unknown_name("command", word, kCommands,
                            "/help lists all; a message that begins with '/' needs a blank "
                            "before it"));
    return true;
  }

  void help() const {
    if (!json_) write_piece(kHelp);
  }

  // A person tries again; a script that goes on would take other answers for those it asked for.
  void complain(const std::string& problem) const {
    if (!person_) throw_usage(problem);
    reporter_.warn(problem);
  }

  void say(const std::string& message) {
    bool wrote = false;
    ChatAnswer answer;
    try {
      answer = chat_.say(message, [&](std::string_view piece) {
        wrote = true;
        if (!json_) write_piece(piece);
      });
    } catch (const Error& error) {
      if (wrote && !json_) write_piece("\n");
      if (!person_ || (error.code() != ErrorCode::usage && error.code() != ErrorCode::input)) throw;
      reporter_.warn(error.what());
      return;
    }
    if (!json_) write_piece("\n");
    if (interrupted()) stop_where_asked();
    if (answer.ended_by == "max_new_tokens" || answer.ended_by == "context")
      reporter_.info(str("the answer ends after ", answer.new_tokens, " tokens, as --",
                         answer.ended_by == "context" ? "context_tokens" : answer.ended_by, " says"));
    turns_.push_back(json::Object{{"message", message},
                                  {"answer", answer.text},
                                  {"prompt_tokens", answer.prompt_tokens},
                                  {"reused_tokens", answer.reused_tokens},
                                  {"new_tokens", answer.new_tokens},
                                  {"ended_by", answer.ended_by}});
  }

  static inline const std::vector<std::string> kCommands{"/reset", "/system", "/help", "/exit"};

  Chat& chat_;
  Reporter& reporter_;
  const bool json_, person_, prompts_;
  SignalWatch signals_;
  LineReader reader_;
  json::Array turns_;  // for --json
};

}  // namespace

Result cmd_chat(const Arguments& arguments, Plugins& plugins, Reporter& reporter) {
  ChatOptions options;
  options.model = arguments.positional(0);
  read_options(options, arguments);
  Chat chat(options, plugins.registry(), reporter);
  throw_if_interrupted();
  Result result;
  result.json["turns"] = Talk(arguments, chat, reporter).go_on();
  return result;
}

}  // namespace arkit::cli
