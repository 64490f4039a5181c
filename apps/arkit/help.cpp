#include "help.h"

#include <algorithm>

#include <arkit/str.h>

namespace arkit::cli {
namespace {

constexpr size_t kWidth = 110;
constexpr size_t kColumn = 34;  // where help texts begin

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
  if (!option.default_value.empty()) {
    const bool note = !has_fixed_default(option);
    const std::string_view shown =
        note ? option.default_value.substr(1, option.default_value.size() - 2) : option.default_value;
    text += str(" [", shown, "]");
  }
  return row(left, text);
}

}  // namespace

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
  out +=
      "\nEnvironment\n" +
      row("ARKIT_PLUGIN_PATH", "folders with plugins, separated by ':'; 'disable' = only what --plugin names") +
      row("ARKIT_TORCH_DIR", "LibTorch to use when the one arkit was built with is not found") +
      row("HF_HOME, HF_HUB_CACHE", "where hub ids such as Qwen/Qwen3-0.6B are looked up; nothing is downloaded") +
      "\nExit codes: 0 done, 1 internal error, 2 wrong usage, 3 input invalid or corrupt, 4 unsupported, 5 resource\n"
      "(memory, disk, device), 6 verification failed, 7 plugin refused, 130 interrupted. A complete export is 0, with "
      "a\n"
      "warning, even where its summary cannot be printed; with --json, where that was asked for, it is 5.\n";
  return out;
}

std::string command_help(const Command& command) {
  std::string out = str("arkit ", command.name, command.positional.empty() ? "" : " ", command.positional,
                        " [options]: ", command.summary, "\n\n");
  for (const std::string& example : split(command.examples, '\n')) out += "  " + example + "\n";
  std::vector<std::string_view> groups;
  for (const Option& option : command.options)
    if (std::find(groups.begin(), groups.end(), option.group) == groups.end()) groups.push_back(option.group);
  for (const std::string_view group : groups) {
    out += str("\n", group, "\n");
    for (const Option& option : command.options)
      if (option.group == group) out += option_row(option);
  }
  out += "\nCommon\n";
  for (const Option& option : common_options()) out += option_row(option);
  return out;
}

}  // namespace arkit::cli
