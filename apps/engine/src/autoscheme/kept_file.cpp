#include "autoscheme/kept_file.h"

#include <cstdlib>
#include <utility>

#include <arkit/error.h>
#include <arkit/part_file.h>
#include <arkit/str.h>

namespace arkit::auto_scheme {
namespace fs = std::filesystem;

namespace {

fs::path default_folder() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && *cache == '/') return fs::path(cache) / "arkit" / "autoscheme";
  const char* home = std::getenv("HOME");
  return home != nullptr && *home == '/' ? fs::path(home) / ".cache" / "arkit" / "autoscheme" : fs::path();
}

std::string format_of(const std::string& what) {
  return "arkit autoscheme " + what;
}

}  // namespace

KeptFile::KeptFile(const fs::path& folder, std::string_view what, std::string key) : what_(what), key_(std::move(key)) {
  constexpr size_t kDigits = 32;
  const fs::path place = folder.empty() ? default_folder() : folder;
  if (!place.empty()) file_ = place / str(what_, "-", key_.substr(0, kDigits), ".json");
}

bool KeptFile::load(const Read& read, Reporter& reporter) const {
  std::error_code error;
  if (file_.empty() || !fs::exists(file_, error)) return false;
  try {
    const json::Value root = json::read_file(file_);
    if (!root.is_object()) throw_input("it is no object");
    const json::Object& object = root.get_object();
    const auto text = [&](const char* name) { return json::get_string(object, name, what_).value_or(""); };
    if (text("format") != format_of(what_) || text("key") != key_) throw_input("it holds something else");
    read(object);
    return true;
  } catch (const Error& failure) {
    reporter.warn(str("the ", what_, " kept in '", file_.string(), "' are not used: ", failure.what()));
    return false;
  }
}

void KeptFile::store(const json::Object& content, Reporter& reporter) const {
  if (file_.empty()) return;
  json::Object root{{"format", format_of(what_)}, {"key", key_}};
  for (const auto& [name, value] : content) root[name] = value;
  try {
    std::error_code error;
    fs::create_directories(file_.parent_path(), error);
    write_file(file_, json::dump(root, 1) + "\n");
  } catch (const Error& failure) {
    reporter.warn(str(what_, " are not kept for the next run: ", failure.what()));
  }
}

}  // namespace arkit::auto_scheme
