#pragma once
// What trying plugin files has told, kept for the next commands: a file that has not changed since is not tried again.

#include <chrono>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include <arkit/export.h>

#include "plugins/probe.h"

namespace arkit::plugins {

// One file of the user's cache folder for each installed arkit; whatever is wrong with it, it is not used.
class ARKIT_INTERNAL ProbeCache {
 public:
  // `file` empty = nothing is kept.
  explicit ProbeCache(std::filesystem::path file);

  // $XDG_CACHE_HOME/arkit/plugins-*.json, else ~/.cache/arkit/plugins-*.json; empty without either, and for a process
  // that runs with more rights than its user.
  [[nodiscard]] static std::filesystem::path default_file();

  // nullopt = try it: unknown, changed since (device, inode, size, times of content and inode), or refused for so long
  // that it deserves another chance.
  [[nodiscard]] std::optional<ProbeResult> find(const std::filesystem::path& plugin) const;
  void add(const std::filesystem::path& plugin, const ProbeResult& result);

  // Writes what add() brought. A place that cannot be written to costs time, not the command.
  void save() const;

 private:
  struct Entry {
    std::string state;  // of the file
    ProbeResult result;
    int64_t tried = 0;  // seconds since 1970
  };
  std::filesystem::path file_;
  std::map<std::string, Entry, std::less<>> entries_;
  bool changed_ = false;
};

}  // namespace arkit::plugins
