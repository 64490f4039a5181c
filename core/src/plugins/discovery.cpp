#include "plugins/discovery.h"

#include <filesystem>
#include <utility>

#include <arkit/error.h>
#include <arkit/str.h>

#include "plugins/probe.h"
#include "plugins/probe_cache.h"
#include "plugins/search_path.h"

namespace arkit::plugins {
namespace {

LoadedPlugin look_at(const Candidate& candidate) {
  LoadedPlugin plugin;
  if (candidate.refused.empty()) {
    plugin = look_at_plugin(candidate.path);
  } else {
    plugin.entry.path = candidate.path;
    plugin.entry.reason = candidate.refused;
  }
  plugin.entry.named_by_user = candidate.named_by_user;
  return plugin;
}

bool may_load(const LoadedPlugin& plugin) {
  return plugin.entry.state == PluginState::loaded;
}

// What earlier commands kept, and one child for all the rest. A refusal that was kept is no reason to refuse what the
// user names now.
std::vector<ProbeResult> try_plugins(const std::vector<LoadedPlugin>& plugins) {
  ProbeCache cache(ProbeCache::default_file());
  std::vector<ProbeResult> results(plugins.size());
  std::vector<size_t> unknown;
  std::vector<std::filesystem::path> files;
  for (size_t i = 0; i < plugins.size(); ++i) {
    const PluginEntry& entry = plugins[i].entry;
    if (!may_load(plugins[i])) continue;
    const std::optional<ProbeResult> kept = cache.find(entry.path);
    if (kept && (kept->good() || !entry.named_by_user)) {
      results[i] = *kept;
      continue;
    }
    unknown.push_back(i);
    files.push_back(entry.path);
  }
  if (files.empty()) return results;
  const std::vector<ProbeResult> found = probe_files(files);
  for (size_t i = 0; i < files.size(); ++i) {
    cache.add(files[i], found[i]);
    results[unknown[i]] = found[i];
  }
  cache.save();
  return results;
}

// An exception can be reported where it happens, with everything else at work: only a plugin nobody asked for is left
// out for it.
std::string refuse_tried(const ProbeResult& result, bool named_by_user) {
  if (!result.ended.empty()) return str(result.ended, ", tried in a process of its own");
  return named_by_user ? std::string() : result.thrown;
}

}  // namespace

std::vector<LoadedPlugin> look_for(const PluginSearch& search) {
  std::vector<LoadedPlugin> plugins;
  for (const Candidate& candidate : find_candidates(search)) plugins.push_back(look_at(candidate));
  const std::vector<ProbeResult> results = try_plugins(plugins);
  for (size_t i = 0; i < plugins.size(); ++i) {
    PluginEntry& entry = plugins[i].entry;
    if (may_load(plugins[i])) {
      entry.reason = refuse_tried(results[i], entry.named_by_user);
      if (!entry.reason.empty()) entry.state = PluginState::refused;
    }
    if (may_load(plugins[i])) load_plugin(plugins[i]);
    if (entry.state == PluginState::refused && entry.named_by_user)
      throw Error(ErrorCode::plugin, refusal_message(entry));
  }
  return plugins;
}

}  // namespace arkit::plugins
