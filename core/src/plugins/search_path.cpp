#include "plugins/search_path.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <set>

#include <sys/stat.h>
#include <unistd.h>

#include <boost/dll/runtime_symbol_info.hpp>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit {

namespace fs = std::filesystem;

namespace {

// An environment variable, unless the process runs with more rights than its user (setuid: AT_SECURE).
std::string environment(const char* name) {
  const char* value = ::secure_getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

fs::path user_folder() {
  if (const fs::path data = environment("XDG_DATA_HOME"); data.is_absolute()) return data / "arkit";
  if (const fs::path home = environment("HOME"); home.is_absolute()) return home / ".local/share/arkit";
  return {};
}

// Of this library, whatever program it serves: PREFIX/lib of PREFIX/lib/libarkit_core.so.
fs::path library_folder() {
  std::error_code failed;
  const fs::path library = boost::dll::this_line_location(failed);
  return failed ? fs::path() : fs::weakly_canonical(library, failed).parent_path();
}

fs::path installed_folder() {
  const fs::path library = library_folder();
  return library.empty() ? fs::path() : library / "arkit/plugins";
}

std::vector<fs::path> family_places(std::span<const std::string> named) {
  std::vector<fs::path> places;
  for (const std::string& path : named) {
    if (path.empty()) throw_usage("--family is empty; give a family file ('arkit models new' writes one)");
    if (std::error_code failed; !fs::exists(path, failed))
      throw_input(str("--family '", printable(path), "': no such file or folder; 'arkit models new' writes one"));
    places.push_back(fs::absolute(path).lexically_normal());
  }
  if (const fs::path user = user_folder(); !user.empty()) places.push_back(user / "families");
  if (const fs::path library = library_folder(); !library.empty())
    places.push_back(library.parent_path() / "share/arkit/families");
  return places;
}

}  // namespace

PluginSearch default_search(std::span<const std::string> named, std::span<const std::string> families) {
  PluginSearch search;
  search.families = family_places(families);
  for (const std::string& path : named) {
    if (path.empty()) throw_usage("--plugin is empty; give a plugin file or a folder of plugins");
    search.named.push_back(fs::absolute(path).lexically_normal());
  }
  const std::string variable = environment("ARKIT_PLUGIN_PATH");
  if (variable == "disable") return search;
  for (const std::string& folder : split(variable, ':')) {
    if (folder.empty()) continue;
    if (folder.front() != '/')
      throw_usage(str("ARKIT_PLUGIN_PATH: '", printable(folder),
                      "' is not an absolute path; plugins are never looked for in the working directory"));
    search.folders.emplace_back(folder);
  }
  if (const fs::path user = user_folder(); !user.empty()) search.folders.push_back(user / "plugins");
  if (const fs::path installed = installed_folder(); !installed.empty()) search.folders.push_back(installed);
  return search;
}

}  // namespace arkit

namespace arkit::plugins {
namespace {

bool is_plugin_name(const fs::path& path) {
  const std::string name = path.filename().string();
  return name.starts_with("libarkit_") && name.ends_with(".so");
}

// The real file decides, and so does the folder of a link that leads to it.
std::string unsafe_location(const fs::path& file) {
  std::error_code failed;
  const fs::path real = fs::canonical(file, failed);
  if (failed) return str("cannot be read: ", failed.message());
  for (const fs::path& place : {file.parent_path(), real.parent_path(), real})
    if (std::string why = unsafe_permissions(place); !why.empty()) return why;
  return {};
}

class Collector {
 public:
  void add_file(const fs::path& file, bool named) {
    std::error_code failed;
    const fs::path real = fs::canonical(file, failed);
    if (!failed && !seen_.insert(real.string()).second) return;
    Candidate candidate{file, named, {}};
    if (failed)
      candidate.refused = str("cannot be read: ", failed.message());
    else if (!fs::is_regular_file(real, failed))
      candidate.refused = "is not a regular file";
    else
      candidate.refused = unsafe_location(file);
    found.push_back(std::move(candidate));
  }

  void add_folder(const fs::path& folder, bool named) {
    if (std::string why = unsafe_permissions(folder); !why.empty()) {
      found.push_back({folder, named, std::move(why)});
      return;
    }
    std::vector<fs::path> files;
    std::error_code failed;
    for (fs::directory_iterator it(folder, failed), end; !failed && it != end; it.increment(failed))
      if (is_plugin_name(it->path())) files.push_back(it->path());
    if (failed) found.push_back({folder, named, str("cannot be read: ", failed.message())});
    if (files.empty() && named && !failed) found.push_back({folder, named, "the folder holds no libarkit_*.so file"});
    std::sort(files.begin(), files.end());
    for (const fs::path& file : files) add_file(file, named);
  }

  std::vector<Candidate> found;

 private:
  std::set<std::string> seen_;  // canonical paths
};

}  // namespace

std::string unsafe_permissions(const fs::path& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return str("cannot be read: ", std::strerror(errno));
  const std::string place = printable(path.string(), 400);
  if (info.st_uid != 0 && info.st_uid != ::geteuid())
    return str("'", place, "' belongs to user ", info.st_uid, ", who could replace it; expected you or root: chown it");
  if ((info.st_mode & (S_IWGRP | S_IWOTH)) == 0) return {};
  return str("'", place, "' is writable by ", (info.st_mode & S_IWOTH) != 0 ? "everyone" : "its group",
             ", who could replace plugins; chmod go-w '", place, "'");
}

bool is_shipped(const fs::path& plugin) {
  std::error_code failed;
  const fs::path folder = installed_folder();
  return !folder.empty() && fs::equivalent(plugin.parent_path(), folder, failed) && !failed;
}

std::vector<Candidate> find_candidates(const PluginSearch& search) {
  Collector collector;
  std::error_code ignored;
  for (const fs::path& path : search.named) {
    if (fs::is_directory(path, ignored))
      collector.add_folder(path, true);
    else
      collector.add_file(path, true);
  }
  for (const fs::path& folder : search.folders)
    if (fs::is_directory(folder, ignored)) collector.add_folder(folder, false);
  return std::move(collector.found);
}

}  // namespace arkit::plugins
