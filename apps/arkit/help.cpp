#include "help.h"

#include <algorithm>

#include <arkit/str.h>

namespace arkit::cli {
namespace {

constexpr size_t kWidth = 110;
constexpr size_t kColumn = 34;  // where help texts begin

constexpr Fact kEnvironment[] = {
    {"ARKIT_PLUGIN_PATH", "folders with plugins, separated by ':'; 'disable' = only what --plugin names"},
    {"ARKIT_TORCH_DIR", "LibTorch to use when the one arkit was built with is not found"},
    {"AR_LOG_LEVEL, AR_...", "AutoRound's variables, as far as they mean something here (docs/COMMAND_LINE.md)"},
    {"HF_HOME, HF_HUB_CACHE", "where models and data sets of the hub such as Qwen/Qwen3-0.6B are kept"},
    {"HF_TOKEN", "a token of the hub, for what is gated or private; else the one 'hf auth login' has left"},
    {"HF_ENDPOINT", "another hub than https://huggingface.co"},
    {"HF_HUB_OFFLINE", "1 = nothing is downloaded; docs/HUB.md has all variables of hubs"},
};
constexpr Fact kExitCodes[] = {
    {"0", "done"},
    {"1", "internal error"},
    {"2", "wrong usage"},
    {"3", "input invalid or corrupt"},
    {"4", "unsupported"},
    {"5", "resource (memory, disk, device)"},
    {"6", "verification failed"},
    {"7", "plugin refused"},
    {"130", "interrupted"},
};

constexpr std::string_view kPrintedOrNot =
    "A complete export is 0, with a warning, even where its summary cannot be printed; with --json, where that was "
    "asked "
    "for, it is 5";

// Lines of the whole width.
std::string wrapped(const std::string& text) {
  std::string out;
  size_t used = 0;
  for (const std::string& word : split(text, ' ')) {
    if (used > 0) out += used + word.size() + 1 > kWidth ? "\n" : " ";
    used = out.size() - (out.rfind('\n') == std::string::npos ? 0 : out.rfind('\n') + 1) + word.size();
    out += word;
  }
  return out + "\n";
}

// `left` padded to the column, `text` wrapped beside it.
std::string row(const std::string& left, std::string_view text) {
  std::string out = "  " + left;
  out += out.size() + 2 > kColumn ? "\n" + std::string(kColumn, ' ') : std::string(kColumn - out.size(), ' ');
  size_t used = kColumn;
  for (const std::string& word : split(text, ' ')) {
    if (used > kColumn && used + word.size() + 1 > kWidth) {
      out += "\n" + std::string(kColumn, ' ');
      used = kColumn;
    }
    if (used > kColumn) out += " ";
    out += word;
    used += word.size() + 1;
  }
  return out + "\n";
}

std::string option_row(const Option& option) {
  std::string left;
  for (const std::string& alias : split(option.aliases, ' '))
    if (alias.size() == 1) left += "-" + alias + ", ";
  left += str("--", option.name, option.value_name.empty() ? "" : " ", option.value_name);
  std::string text(option.help);
  if (!option.choices.empty()) {
    std::string choices(option.choices);
    std::replace(choices.begin(), choices.end(), ' ', '|');
    text += ": " + choices;
  }
  const std::string_view shown = option.absent.empty() ? std::string_view(option.default_value) : option.absent;
  if (!shown.empty()) text += str(" [", shown, "]");
  return row(left, text);
}

}  // namespace

std::span<const Fact> environment_variables() {
  return kEnvironment;
}

std::span<const Fact> exit_codes() {
  return kExitCodes;
}

std::string overview() {
  std::string out =
      "arkit quantizes large language models after training.\n\n"
      "  arkit quantize ./model --scheme W4A16 --dataset self --output_dir ./model-w4\n"
      "  arkit eval ppl ./model-w4 --text text.txt --against ./model\n"
      "  arkit generate ./model-w4 --prompt 'Once upon a time'\n\nCommands\n";
  for (const Command& command : commands())
    out += row(str(command.name, command.positional.empty() ? "" : " ", command.positional), command.summary);
  out +=
      "\n'arkit COMMAND --help' shows a command's options; '-' and '_' are the same in their names. 'arkit PATH ...' "
      "means\n"
      "'arkit quantize PATH ...'. '--flag=false' is the opposite of '--flag', as 'flag = false' is in an options "
      "file.\n\n"
      "Common\n";
  for (const Option& option : common_options()) out += option_row(option);
  out += row("--version", "version of arkit");
  out += "\nEnvironment\n";
  for (const auto& [name, text] : kEnvironment) out += row(std::string(name), text);
  std::string codes;
  for (const auto& [code, meaning] : kExitCodes) codes += str(codes.empty() ? "" : ", ", code, " ", meaning);
  out += "\n" + wrapped(str("Exit codes: ", codes, ". ", kPrintedOrNot, "."));
  return out;
}

std::string group_help(std::string_view group) {
  std::string out;
  for (const Command& command : commands()) {
    if (!command.name.starts_with(str(group, " "))) continue;
    out += row(str("arkit ", command.name, " ", command.positional), command.summary);
    for (const std::string& example : split(command.examples, '\n')) out += row("", example);
  }
  return str("arkit ", group, " is one of\n\n", out, "\n'arkit ", group,
             " COMMAND --help' shows the options of one of them.\n");
}

std::string command_help(const Command& command) {
  std::string out = str("arkit ", command.name, command.positional.empty() ? "" : " ", command.positional,
                        " [options]: ", command.summary, "\n\n");
  for (const std::string& example : split(command.examples, '\n')) out += "  " + example + "\n";
  for (const std::string_view group : option_groups(command)) {
    out += str("\n", group, "\n");
    for (const Option& option : command.options)
      if (option.group == group) out += option_row(option);
  }
  out += "\nCommon\n";
  for (const Option& option : common_options()) out += option_row(option);
  return out;
}

}  // namespace arkit::cli
