#include <filesystem>

#include <arkit/error.h>
#include <arkit/plugin.h>
#include <arkit/str.h>

#include "command.h"
#include "render.h"
#include "template_project.h"

namespace arkit::cli {
namespace {

// As one word of a shell command.
std::string shell_word(const std::filesystem::path& path) {
  const std::string text = path.string();
  constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=:,./@%";
  if (text.find_first_not_of(kPlain) == std::string::npos) return text;
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

}  // namespace

Result cmd_plugin_inspect(const Arguments& arguments, Plugins&, Reporter&) {
  Plugins::refuse(arguments);
  const PluginInspection inspection = inspect_plugin(arguments.positional(0));
  const PluginEntry& entry = inspection.entry;
  const bool usable = entry.state == PluginState::loaded;
  json::Array components, symbols;
  for (const ComponentEntry& component : entry.components)
    components.push_back(
        json::Object{{"kind", kind_name(component.kind)}, {"name", component.name}, {"summary", component.summary}});
  for (const std::string& symbol : inspection.symbols) symbols.emplace_back(printable(symbol, 600));

  Result result;
  result.json = {{"path", entry.path.string()}, {"usable", usable},
                 {"reason", entry.reason},      {"id", entry.id},
                 {"version", entry.version},    {"vendor", entry.vendor},
                 {"license", entry.license},    {"url", entry.url},
                 {"abi_tag", entry.abi_tag},    {"this_abi_tag", ARKIT_ABI_TAG},
                 {"components", components},    {"symbols", symbols}};
  result.human = describe_object(result.json, {"reason", "symbols"});
  if (!usable) result.human += str("\n", refusal_message(entry), "\n");
  if (!arguments.flag("symbols")) {
    result.human += str("\n", symbols.size(), " exported symbols (--symbols lists them)\n");
    return result;
  }
  result.human += "\nexported symbols\n";
  for (const json::Value& symbol : symbols) result.human += str("  ", std::string_view(symbol.get_string()), "\n");
  return result;
}

Result cmd_plugin_new(const Arguments& arguments, Plugins&, Reporter&) {
  Plugins::refuse(arguments);
  const std::string kind = arguments.positional(0), name = arguments.positional(1);
  const std::filesystem::path folder = arguments.positional(2).empty() ? name : arguments.positional(2);
  const std::filesystem::path templates =
      std::filesystem::path(arguments.parsed().program_dir).parent_path() / "share/arkit/template";
  const NewProject project = write_project(templates, kind, name, std::filesystem::absolute(folder).lexically_normal());

  json::Array files;
  for (const std::string& file : project.files) files.emplace_back(file);
  // An installation and a build tree are found in the same way, and neither need be on the PATH.
  const std::filesystem::path program_dir = arguments.parsed().program_dir;
  const std::string prefix = shell_word(program_dir.parent_path());
  const std::string shown = project.folder.string();
  Result result;
  result.json = {{"kind", kind}, {"name", name}, {"folder", shown}, {"files", std::move(files)}};
  result.human =
      str("wrote ", printable(shown, 1000), "\n\nbuild and test it:\n  cd ", shell_word(project.folder),
          "\n  cmake -S . -B build -DCMAKE_PREFIX_PATH=", prefix,
          "\n  cmake --build build && ctest --test-dir build --output-on-failure\n  ",
          shell_word(program_dir / "arkit"), " --plugin ./build list plugins\n", "\nthen start with README.md\n");
  result.kept = str("the project is complete: '", shown, "'");
  return result;
}

}  // namespace arkit::cli
