#include "completions.h"

#include <algorithm>
#include <span>
#include <vector>

#include <arkit/error.h>
#include <arkit/str.h>

#include "commands.h"

namespace arkit::cli {
namespace {

// What stands after an option, or in place of a positional argument.
enum class Values { nothing, anything, files, choices };

Values values_of(const Option& option) {
  if (option.type == Type::flag) return Values::nothing;
  if (!option.choices.empty()) return Values::choices;
  const bool named =
      option.type == Type::path || option.row.names_file || option.value_name == "MODEL" || option.value_name == "PATH";
  return named ? Values::files : Values::anything;
}

std::vector<std::span<const Option>> all_options(const Command& command) {
  return {std::span<const Option>(command.options), common_options()};
}

// "-o" and "--output_dir": what is offered. Other spellings are accepted, not advertised.
std::vector<std::string> spellings(const Option& option) {
  std::vector<std::string> all{"--" + std::string(option.name)};
  for (const std::string& alias : split(option.aliases, ' '))
    if (alias.size() == 1) all.push_back("-" + alias);
  return all;
}

// "eval ppl" -> "eval": words that only begin a command.
std::vector<std::string> first_words() {
  std::vector<std::string> words;
  for (const Command& command : commands()) {
    const std::vector<std::string> parts = split(command.name, ' ');
    if (parts.size() == 2 && std::find(words.begin(), words.end(), parts[0]) == words.end()) words.push_back(parts[0]);
  }
  return words;
}

std::vector<std::string> second_words(const std::string& first) {
  std::vector<std::string> words;
  for (const Command& command : commands())
    if (command.name.starts_with(first + " ")) words.emplace_back(command.name.substr(first.size() + 1));
  return words;
}

std::vector<std::string> verbs() {
  std::vector<std::string> words;
  for (const Command& command : commands()) {
    const std::string word = split(command.name, ' ').front();
    if (std::find(words.begin(), words.end(), word) == words.end()) words.push_back(word);
  }
  return words;
}

std::string joined(const std::vector<std::string>& words, std::string_view between = " ") {
  std::string line;
  for (const std::string& word : words) line += (line.empty() ? "" : std::string(between)) + word;
  return line;
}

// What may stand in place of the first positional argument; empty = files.
std::string positional_words(const Command& command) {
  return command.positional == "[COMMAND]" ? joined(verbs()) : std::string(command.choices);
}

// In single quotes of a POSIX shell.
std::string in_quotes(std::string_view text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

// Lines "  pattern) echo words ;;" of a function that answers what an option takes.
std::string bash_cases(const Command& command) {
  std::string out;
  for (const std::span<const Option> options : all_options(command))
    for (const Option& option : options) {
      const Values values = values_of(option);
      if (values == Values::nothing) continue;
      std::vector<std::string> patterns;
      for (const std::string& spelling : spellings(option))
        patterns.push_back(in_quotes(str(command.name, " ", spelling)));
      out += str("    ", joined(patterns, "|"), ") ");
      if (values == Values::choices)
        out += str("echo ", in_quotes(option.choices));
      else
        out += values == Values::files ? "echo FILES" : "echo ANYTHING";
      out += " ;;\n";
    }
  return out;
}

std::string bash_options(const Command& command) {
  std::vector<std::string> names;
  for (const std::span<const Option> options : all_options(command))
    for (const Option& option : options)
      for (const std::string& spelling : spellings(option)) names.push_back(spelling);
  return joined(names);
}

std::string bash() {
  std::string out = "# Completion of arkit for bash; made by 'arkit completions bash'.\n\n";
  out += "_arkit_options() {\n  case $1 in\n";
  for (const Command& command : commands())
    out += str("    ", in_quotes(command.name), ") echo ", in_quotes(bash_options(command)), " ;;\n");
  out += "  esac\n}\n\n_arkit_values() {\n  case $1 in\n";
  for (const Command& command : commands()) out += bash_cases(command);
  out += "  esac\n}\n\n_arkit_words() {\n  case $1 in\n";
  out += str("    '') echo ", in_quotes(joined(verbs())), " ;;\n");
  for (const std::string& first : first_words())
    out += str("    ", in_quotes(first), ") echo ", in_quotes(joined(second_words(first))), " ;;\n");
  for (const Command& command : commands())
    if (const std::string words = positional_words(command); !words.empty())
      out += str("    ", in_quotes(command.name), ") echo ", in_quotes(words), " ;;\n");
  out += "    *) echo FILES ;;\n  esac\n}\n";
  out += str(R"(
_arkit() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command='' i
  # '=' is a word of its own to bash.
  [[ $word == '=' ]] && word=''
  [[ $before == '=' ]] && before=${COMP_WORDS[COMP_CWORD-2]}
  for ((i = 1; i < COMP_CWORD; i++)); do
    [[ ${COMP_WORDS[i]} == -* ]] && continue
    command+=${command:+ }${COMP_WORDS[i]}
    case $command in )",
             joined(first_words(), " | "), R"() continue ;; esac
    break
  done
  local names=${before#--}
  [[ $before == --* ]] && before=--${names//-/_}
  local words
  words=$(_arkit_values "$command $before")
  if [[ -z $words ]]; then
    if [[ $word == -* ]]; then
      words=$(_arkit_options "$command")
      # '-' is '_' in names: the spelling that was begun goes on.
      [[ $word == --*-* ]] && words=${words//_/-}
    else
      words=$(_arkit_words "$command")
    fi
  fi
  case $words in
    FILES) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
    ANYTHING) COMPREPLY=() ;;
    *) mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word") ;;
  esac
}
complete -F _arkit arkit
)");
  return out;
}

// Within "[...]" of _arguments.
std::string zsh_text(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '[' || c == ']' || c == ':' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

std::string zsh_spec(const Option& option) {
  std::string out;
  const Values values = values_of(option);
  for (const std::string& spelling : spellings(option)) {
    std::string spec;
    if (!option.excludes.empty()) spec += str("(--", option.excludes, ")");
    if (repeatable(option)) spec += "*";
    spec += spelling;
    if (values != Values::nothing) spec += spelling.starts_with("--") ? "=" : "+";
    spec += str("[", zsh_text(option.help), "]");
    if (values != Values::nothing) spec += str(":", zsh_text(option.value_name), ":");
    if (values == Values::choices) spec += str("(", option.choices, ")");
    if (values == Values::files) spec += "_files";
    out += str(" \\\n        ", in_quotes(spec));
  }
  return out;
}

std::string zsh() {
  std::string out = "#compdef arkit\n# Completion of arkit for zsh; made by 'arkit completions zsh'.\n\n_arkit() {\n";
  out += "  local command=${words[2]} skip=2\n  local -a commands\n  commands=(\n";
  for (const Command& command : commands())
    if (command.name.find(' ') == std::string_view::npos)
      out += str("    ", in_quotes(str(command.name, ":", command.summary)), "\n");
  for (const std::string& first : first_words())
    out += str("    ", in_quotes(str(first, ":", joined(second_words(first), " or "))), "\n");
  out += "  )\n  if (( CURRENT == 2 )); then\n    _describe command commands\n    return\n  fi\n  case $command in\n";
  out += str("    ", joined(first_words(), "|"), ")\n      if (( CURRENT == 3 )); then\n        case $command in\n");
  for (const std::string& first : first_words())
    out += str("          ", first, ") compadd ", joined(second_words(first)), " ;;\n");
  out += "        esac\n        return\n      fi\n      command+=\" ${words[3]}\"\n      skip=3\n      ;;\n  esac\n";
  out +=
      "  shift $skip words\n  words=(arkit \"${words[@]}\")\n  (( CURRENT = CURRENT - skip + 1 ))\n  case $command "
      "in\n";
  for (const Command& command : commands()) {
    out += str("    ", in_quotes(command.name), ")\n      _arguments -s");
    for (const std::span<const Option> options : all_options(command))
      for (const Option& option : options) out += zsh_spec(option);
    const std::string words = positional_words(command);
    const std::string what = words.empty() ? "_files" : str("(", words, ")");
    if (!command.positional.empty()) out += str(" \\\n        ", in_quotes(str("*:", command.positional, ":", what)));
    out += "\n      ;;\n";
  }
  out += "  esac\n}\n\nif [[ $funcstack[1] == _arkit ]]; then\n  _arkit \"$@\"\nelse\n  compdef _arkit arkit\nfi\n";
  return out;
}

std::string fish() {
  std::string out = R"(# Completion of arkit for fish; made by 'arkit completions fish'.

# Is the command line one of this command?
function __arkit_is
    set -l words (commandline -opc)
    set -e words[1]
    set -l found
    for word in $words
        string match -q -- '-*' $word; and continue
        set -a found $word
    end
    set -l length (count $argv)
    test "$found[1..$length]" = "$argv"
end

function __arkit_begins
    set -l words (commandline -opc)
    test (count $words) -eq 1
end

complete -c arkit -f -n __arkit_begins
)";
  for (const std::string& verb : verbs()) {
    const Command* command = find_command(verb);
    const std::string what = command != nullptr ? std::string(command->summary) : joined(second_words(verb), " or ");
    out += str("complete -c arkit -n __arkit_begins -a ", verb, " -d ", in_quotes(what), "\n");
  }
  for (const std::string& first : first_words())
    out += str("complete -c arkit -f -n '__arkit_is ", first, "' -a '", joined(second_words(first)), "'\n");
  for (const Command& command : commands()) {
    const std::string begin = str("complete -c arkit -n '__arkit_is ", command.name, "'");
    if (const std::string words = positional_words(command); !words.empty())
      out += str(begin, " -f -a ", in_quotes(words), "\n");
    for (const std::span<const Option> options : all_options(command))
      for (const Option& option : options) {
        out += str(begin, " -l ", option.name);
        for (const std::string& spelling : spellings(option))
          if (!spelling.starts_with("--")) out += str(" -s ", spelling.substr(1));
        const Values values = values_of(option);
        if (values == Values::choices) out += str(" -x -a ", in_quotes(option.choices));
        if (values == Values::files) out += " -r -F";
        if (values == Values::anything) out += " -x";
        out += str(" -d ", in_quotes(option.help), "\n");
      }
  }
  return out;
}

}  // namespace

std::string completions(const std::string& shell) {
  if (shell == "bash") return bash();
  if (shell == "zsh") return zsh();
  if (shell == "fish") return fish();
  throw_usage(unknown_name("shell", shell, split(find_command("completions")->choices, ' '),
                           "completions are made for bash, zsh and fish"));
}

}  // namespace arkit::cli
