#include "harness/interpreter.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <string>
#include <system_error>

#include <unistd.h>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::harness {
namespace {

namespace fs = std::filesystem;

bool can_be_run(const fs::path& file) {
  std::error_code error;
  return fs::is_regular_file(file, error) && ::access(file.c_str(), X_OK) == 0;
}

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

// Folders that are no absolute path mean another one tomorrow, and are left out.
std::optional<fs::path> in_path(const std::string& name) {
  for (const std::string& folder : split(variable("PATH"), ':'))
    if (fs::path file = fs::path(folder) / name; file.is_absolute() && can_be_run(file)) return file;
  return std::nullopt;
}

// "#!/home/me/venv/bin/python3" of a script.
std::optional<fs::path> interpreter_of(const fs::path& script) {
  std::ifstream in(script, std::ios::binary);
  std::string line(4096, '\0');
  in.read(line.data(), static_cast<std::streamsize>(line.size()));
  line.resize(static_cast<size_t>(in.gcount()));
  line.resize(std::min(line.find('\n'), line.size()));
  if (!line.starts_with("#!")) return std::nullopt;
  const fs::path named = line.substr(2, line.find(' ') == std::string::npos ? line.npos : line.find(' ') - 2);
  const bool is_python = named.filename().string().starts_with("python");
  return is_python && named.is_absolute() && can_be_run(named) ? std::optional(named) : std::nullopt;
}

}  // namespace

std::vector<fs::path> interpreters(const fs::path& asked) {
  if (!asked.empty()) {
    std::error_code error;
    const fs::path whole = fs::absolute(asked, error);
    if (!error && can_be_run(whole)) return {whole};
    // "--python python3"
    const auto found = asked.has_parent_path() ? std::nullopt : in_path(asked.string());
    if (!found) throw_input(str("--python '", printable(asked.string(), 400), "': is no program that can be run"));
    return {*found};
  }
  std::vector<fs::path> all;
  const auto add = [&](const std::optional<fs::path>& file) {
    if (file && can_be_run(*file) && std::find(all.begin(), all.end(), *file) == all.end()) all.push_back(*file);
  };
  if (const fs::path active = variable("VIRTUAL_ENV"); active.is_absolute()) add(active / "bin/python3");
  for (const char* script : {"lm_eval", "lm-eval"})
    if (const auto found = in_path(script)) add(interpreter_of(*found));
  for (const char* name : {"python3", "python"}) add(in_path(name));
  return all;
}

}  // namespace arkit::harness
