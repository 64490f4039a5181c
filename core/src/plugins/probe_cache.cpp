#include "plugins/probe_cache.h"

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <vector>

#include <dlfcn.h>
#include <sys/stat.h>

#include <arkit/error.h>
#include <arkit/json.h>
#include <arkit/part_file.h>
#include <arkit/plugin.h>
#include <arkit/str.h>

#include "plugins/search_path.h"

namespace arkit::plugins {
namespace fs = std::filesystem;

namespace {

constexpr std::string_view kFormat = "arkit plugin trials 2";
constexpr int64_t kRefusedFor = 3600;  // seconds; a machine may just have been too busy
constexpr size_t kMaxEntries = 1000;

// What changes when anybody writes to the file or puts another in its place; empty = it is not there.
std::string state_of(const fs::path& file) {
  struct stat info {};
  if (::stat(file.c_str(), &info) != 0) return {};
  return str(info.st_dev, ":", info.st_ino, ":", info.st_size, ":", info.st_mtim.tv_sec, ".", info.st_mtim.tv_nsec, ":",
             info.st_ctim.tv_sec, ".", info.st_ctim.tv_nsec);
}

// The library this code is in: another build of arkit may fare otherwise with the same plugin.
fs::path this_library() {
  Dl_info info{};
  return ::dladdr(reinterpret_cast<const void*>(&this_library), &info) != 0 ? fs::path(info.dli_fname) : fs::path();
}

// The bytes in hexadecimal: paths need not be UTF-8, the text of a JSON file must be.
std::string key_of(const fs::path& file) {
  std::string key;
  for (const char byte : file.string()) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    const auto value = static_cast<unsigned char>(byte);
    key += kDigits[value >> 4];
    key += kDigits[value & 15];
  }
  return key;
}

std::string host_state() {
  return str(ARKIT_ABI_TAG " ", state_of(this_library()));
}

int64_t now() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

fs::path ProbeCache::default_file() {
  const auto folder = [](const char* name) {
    const char* value = ::secure_getenv(name);
    return value != nullptr && *value == '/' ? fs::path(value) : fs::path();
  };
  fs::path cache = folder("XDG_CACHE_HOME");
  if (const fs::path home = folder("HOME"); cache.empty() && !home.empty()) cache = home / ".cache";
  if (cache.empty()) return {};
  // One file for each build of arkit; two that share a name only try plugins again.
  return cache / "arkit" / str("plugins-", std::hash<std::string>{}(this_library().string()), ".json");
}

ProbeCache::ProbeCache(fs::path file) : file_(std::move(file)) {
  std::error_code absent;
  if (file_.empty() || !fs::exists(file_, absent) || !unsafe_permissions(file_).empty() ||
      !unsafe_permissions(file_.parent_path()).empty())
    return;
  try {
    const json::Value root = json::read_file(file_);
    const json::Object& object = json::as_object(root, "the file");
    if (json::get_string(object, "format", "").value_or("") != kFormat ||
        json::get_string(object, "arkit", "").value_or("") != host_state())
      return;
    for (const auto& [key, value] : json::as_object(object.at("files"), "files")) {
      const json::Object& row = json::as_object(value, "files");
      const auto text = [&](const char* name) { return json::get_string(row, name, "files").value_or(""); };
      entries_[std::string(key)] = {
          text("state"), {text("ended"), text("thrown")}, json::get_int(row, "tried", "files").value_or(0)};
    }
  } catch (const std::exception&) {
    entries_.clear();
  }
}

std::optional<ProbeResult> ProbeCache::find(const fs::path& plugin) const {
  const auto it = entries_.find(key_of(plugin));
  if (it == entries_.end() || it->second.state.empty() || it->second.state != state_of(plugin)) return std::nullopt;
  const int64_t age = now() - it->second.tried;
  if (!it->second.result.good() && (age < 0 || age > kRefusedFor)) return std::nullopt;
  return it->second.result;
}

void ProbeCache::add(const fs::path& plugin, const ProbeResult& result) {
  if (entries_.size() >= kMaxEntries) entries_.clear();
  entries_[key_of(plugin)] = {state_of(plugin), result, now()};
  changed_ = true;
}

void ProbeCache::save() const {
  if (!changed_ || file_.empty()) return;
  json::Object files;
  for (const auto& [key, entry] : entries_)
    files[key] = json::Object{
        {"state", entry.state}, {"ended", entry.result.ended}, {"thrown", entry.result.thrown}, {"tried", entry.tried}};
  const json::Object root{{"format", kFormat}, {"arkit", host_state()}, {"files", std::move(files)}};
  try {
    std::error_code failed;
    fs::create_directories(file_.parent_path(), failed);
    if (!unsafe_permissions(file_.parent_path()).empty()) return;
    write_file(file_, json::dump(root, 1) + "\n");
  } catch (const std::exception&) {  // tried again by the next command
  }
}

}  // namespace arkit::plugins
