#include "manual.h"

#include <algorithm>
#include <system_error>

#include <arkit/error.h>
#include <arkit/part_file.h>
#include <arkit/str.h>

#include "help.h"

namespace arkit::cli {
namespace fs = std::filesystem;

namespace {

// Text that roff prints as it is: hyphens that can be copied, no control line at a line's start.
std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\')
      out += "\\e";
    else if (c == '-')
      out += "\\-";
    else if (c == '\'')
      out += "\\(aq";
    else
      out += c;
  }
  return out.starts_with('.') ? "\\&" + out : out;
}

// Double quotes end an argument of a macro.
std::string argument(std::string_view text) {
  std::string out;
  for (const char c : escaped(text)) out += c == '"' ? std::string("\\(dq") : std::string(1, c);
  return "\"" + out + "\"";
}

std::string page_name(std::string_view command) {
  std::string name = str("arkit-", command);
  std::replace(name.begin(), name.end(), ' ', '-');
  return name;
}

std::string heading(const std::string& name, std::string_view summary) {
  std::string title = name;
  std::transform(title.begin(), title.end(), title.begin(),
                 [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; });
  return str(".\\\" Made by 'arkit man'.\n.TH ", argument(title), " 1 \"\" ", argument("arkit " ARKIT_VERSION), " ",
             argument("arkit manual"), "\n.SH NAME\n", escaped(name), " \\- ", escaped(summary), "\n");
}

std::string definition(const std::string& tag, const std::string& text) {
  return str(".TP\n", tag, "\n", text, "\n");
}

// A sentence of its own behind the help text, which is a phrase.
std::string sentence(std::string_view what, std::string_view text) {
  return text.empty() ? std::string() : str("\n", escaped(what), " ", escaped(text), ".");
}

std::string option_entry(const Option& option) {
  std::vector<std::string> names{str("--", option.name)};
  for (const std::string& alias : split(option.aliases, ' ')) names.push_back((alias.size() == 1 ? "-" : "--") + alias);
  std::string tag;
  for (const std::string& name : names) {
    tag += str(tag.empty() ? "" : ", ", "\\fB", escaped(name), "\\fR");
    if (!option.value_name.empty()) tag += str(" \\fI", escaped(option.value_name), "\\fR");
  }
  std::string text = escaped(option.help) + (option.help.ends_with('.') ? "" : ".");
  std::string choices(option.choices);
  std::replace(choices.begin(), choices.end(), ' ', '|');
  text += sentence("One of", choices);
  text += sentence("Expected:", option.row.range.expected);
  text += sentence("Default:", option.absent.empty() ? std::string_view(option.default_value) : option.absent);
  if (repeatable(option)) text += "\nMay be given several times.";
  if (is_pair(option))
    text += sentence("The opposite of", str("--", option.excludes));
  else if (!option.excludes.empty())
    text += sentence("Not together with", str("--", option.excludes));
  if (option.row.since != kFirstRelease) text += sentence("Since arkit", option.row.since);
  return definition(tag, text);
}

std::string facts(std::string_view title, std::span<const Fact> all) {
  std::string out = str(".SH ", title, "\n");
  for (const auto& [name, text] : all) out += definition(str("\\fB", escaped(name), "\\fR"), escaped(text) + ".");
  return out;
}

std::string common_section() {
  std::string out = ".SS \"Common\"\n";
  for (const Option& option : common_options()) out += option_entry(option);
  return out;
}

}  // namespace

std::string manual_page() {
  std::string out = heading("arkit", "quantizes large language models after training");
  out += ".SH SYNOPSIS\n\\fBarkit\\fR \\fICOMMAND\\fR [\\fIoptions\\fR]\n.SH COMMANDS\n";
  for (const Command& command : commands())
    out += definition(str("\\fB", escaped(page_name(command.name)), "\\fR(1)"), escaped(command.summary) + ".");
  out +=
      ".SH OPTIONS\n\\(oq\\-\\(cq and \\(oq_\\(cq are the same in the names of options. \\fB\\-\\-flag=false\\fR is "
      "the "
      "opposite of \\fB\\-\\-flag\\fR, as \\fBflag = false\\fR is in an options file.\n";
  out += common_section();
  out += definition("\\fB\\-\\-version\\fR", "version of arkit.");
  return out + facts("ENVIRONMENT", environment_variables()) + facts("EXIT STATUS", exit_codes());
}

std::string manual_page(const Command& command) {
  std::string out = heading(page_name(command.name), command.summary);
  out += str(".SH SYNOPSIS\n\\fBarkit ", escaped(command.name), "\\fR");
  if (!command.positional.empty()) out += str(" \\fI", escaped(command.positional), "\\fR");
  out += " [\\fIoptions\\fR]\n.SH OPTIONS\n";
  for (const std::string_view group : option_groups(command)) {
    out += str(".SS ", argument(group), "\n");
    for (const Option& option : command.options)
      if (option.group == group) out += option_entry(option);
  }
  out += common_section();
  if (find_option(command, "config") != nullptr)
    out +=
        ".SH FILES\nAn options file is TOML: every option by its name, as \\fBiters = 50\\fR or \\fBsym = false\\fR. "
        "\\fB\\-\\-save_config\\fR writes one with every option as the run uses it, \\fB\\-\\-config\\fR reads it; "
        "what is typed overrules it.\n";
  out += ".SH EXAMPLES\n.nf\n";
  for (const std::string& example : split(command.examples, '\n')) out += escaped(example) + "\n";
  return out + ".fi\n" + facts("EXIT STATUS", exit_codes()) + ".SH SEE ALSO\n.BR arkit (1)\n";
}

void write_manual(const fs::path& folder) {
  std::error_code failed;
  fs::create_directories(folder, failed);
  if (failed) throw_resource(str("'", printable(folder.string()), "': ", lower(failed.message())));
  write_file(folder / "arkit.1", manual_page());
  for (const Command& command : commands()) write_file(folder / (page_name(command.name) + ".1"), manual_page(command));
}

}  // namespace arkit::cli
