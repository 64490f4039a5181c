#include "template_project.h"

#include <algorithm>
#include <fstream>
#include <iterator>

#include <arkit/error.h>
#include <arkit/part_file.h>
#include <arkit/str.h>

namespace arkit::cli {
namespace {

namespace fs = std::filesystem;

void check_name(const std::string& name) {
  const auto allowed = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; };
  const bool good = !name.empty() && name.size() <= 40 && name.front() >= 'a' && name.front() <= 'z' &&
                    std::all_of(name.begin(), name.end(), allowed);
  if (!good)
    throw_usage(str("plugin name '", printable(name),
                    "' is not usable as file, folder and option name; use lower case letters, digits and '_', starting "
                    "with a letter, at most 40"));
}

// The path goes into commands that are shown for copying, where an escaped character would be another path.
void check_folder(const fs::path& folder) {
  const std::string path = folder.string();
  if (printable(path, std::string::npos) != path)
    throw_usage(str("folder '", printable(path, 400),
                    "' has control characters or bytes that are no UTF-8 in its name; give another DIR"));
}

// "my_nf4" -> "MyNf4".
std::string camel_case(const std::string& name) {
  std::string out;
  for (const std::string& word : split(name, '_'))
    if (!word.empty()) out += static_cast<char>(word[0] >= 'a' ? word[0] - 'a' + 'A' : word[0]) + word.substr(1);
  return out;
}

std::string replaced(std::string text, std::string_view from, const std::string& to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

std::string filled(const std::string& text, const std::string& name) {
  return replaced(replaced(text, "sample_plugin", name), "SamplePlugin", camel_case(name));
}

std::string read_text(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file.good() && !file.eof()) throw_resource(str("'", path.string(), "' cannot be read; install arkit again"));
  return text;
}

void write_text(const fs::path& path, const std::string& text) {
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  if (error) throw_io(path.parent_path(), "creating the folder", error.value());
  write_file(path, text);
}

}  // namespace

NewProject write_project(const fs::path& templates, const std::string& kind, const std::string& name,
                         const fs::path& folder) {
  const std::vector<std::string> kinds{"scheme", "exporter", "backend", "model", "transform"};
  if (std::find(kinds.begin(), kinds.end(), kind) == kinds.end())
    throw_usage(unknown_name("plugin kind", kind, kinds, "scheme, exporter, backend, model or transform"));
  check_name(name);
  check_folder(folder);
  const fs::path source = templates / kind;
  if (!fs::is_directory(source))
    throw_resource(str("the template folder '", source.string(), "' is missing; install arkit again"));
  if (fs::exists(folder) && (!fs::is_directory(folder) || !fs::is_empty(folder)))
    throw_usage(str("'", printable(folder.string(), 400), "' exists and is not an empty folder; give another DIR"));

  NewProject project{kind, name, folder, {}};
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(source)) {
    if (!entry.is_regular_file()) continue;
    const fs::path target = filled(fs::relative(entry.path(), source).string(), name);
    write_text(folder / target, filled(read_text(entry.path()), name));
    project.files.push_back(target.string());
  }
  std::sort(project.files.begin(), project.files.end());
  return project;
}

}  // namespace arkit::cli
