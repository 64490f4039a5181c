#include "hub/model_place.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <system_error>
#include <vector>

#include <arkit/error.h>
#include <arkit/json.h>
#include <arkit/str.h>

#include "hub/cache.h"
#include "hub/model_files.h"
#include "hub/transfer.h"
#include "io/weight_names.h"

namespace arkit::hub {
namespace fs = std::filesystem;
namespace {

// The folder, or the file where the model is one.
fs::path opened_path(const fs::path& folder, const std::vector<std::string>& weights) {
  return weights.size() == 1 && io::is_whole_model_name(weights.front()) ? folder / weights.front() : folder;
}

// A listing says exactly whether all is there.
std::optional<fs::path> whole_by_listing(const Cache& cache, const Snapshot& snapshot, const Listing& listing) {
  const std::vector<Entry> entries = entries_of(listing);
  const auto there = [&](const std::vector<std::string>& paths) {
    return std::all_of(paths.begin(), paths.end(), [&](const std::string& path) {
      const auto file = cache.find(snapshot, path);
      return file && has_size(*file, find_file(listing, path)->size);
    });
  };
  if (!there(model_texts(entries))) return std::nullopt;
  const std::vector<std::string> weights = model_weights(entries, cache.folder(snapshot), describe(snapshot.repo));
  if (!there(weights)) return std::nullopt;
  return opened_path(cache.folder(snapshot), weights);
}

// How many files "model-00001-of-00007.safetensors" is one of; 1 for other names.
size_t shards_of(std::string_view name) {
  const size_t of = name.rfind("-of-");
  if (of == std::string_view::npos) return 1;
  const std::string digits(name.substr(of + 4, name.find('.', of) - of - 4));
  const bool number = !digits.empty() && digits.size() < 7 &&
                      std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; });
  return number ? static_cast<size_t>(std::atol(digits.c_str())) : 1;
}

// Without one: what somebody else downloaded looks like a model.
std::optional<fs::path> whole_by_looks(const Cache& cache, const Snapshot& snapshot) {
  try {
    const fs::path folder = cache.folder(snapshot);
    const std::vector<Entry> entries = entries_of(cache.present(snapshot));
    const std::vector<std::string> weights = model_weights(entries, folder, describe(snapshot.repo));
    const fs::path path = opened_path(folder, weights);
    std::error_code error;
    if (path != folder) return path;
    if (!fs::is_regular_file(folder / "config.json", error) || weights.size() < shards_of(weights.front()))
      return std::nullopt;
    return path;
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::optional<ModelPlace> in_cache(const Cache& cache, const ModelName& name, bool by_looks) {
  const auto commit = cache.commit_of(name.repo);
  if (!commit) return std::nullopt;
  const Snapshot snapshot{name.repo, *commit};
  const auto listing = cache.listing(snapshot);
  const auto path = listing    ? whole_by_listing(cache, snapshot, *listing)
                    : by_looks ? whole_by_looks(cache, snapshot)
                               : std::nullopt;
  return path ? std::optional(ModelPlace{*path, name, *commit}) : std::nullopt;
}

Snapshot snapshot_of(Hub& hub, const Repo& repo) {
  try {
    return hub.snapshot(repo);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::resource) throw;
    throw UnknownRepo(error.code(), error.what());
  }
}

// What a download begins with.
struct Begun {
  std::unique_ptr<Hub> hub;
  Snapshot snapshot;
  std::vector<std::string> texts;    // fetched
  std::vector<std::string> weights;  // not fetched
};

// `commit` = the one that this process has seen the name at, or empty.
Begun begin(const Settings& settings, const Cache& cache, const ModelName& name, const std::string& commit,
            std::string_view doing, Reporter& reporter) {
  Begun begun{.hub = open_hub(settings, reporter), .snapshot = {}, .texts = {}, .weights = {}};
  const std::string what = describe(name.repo);
  // Contents that an older commit shares with it are there already.
  begun.snapshot = commit.empty() ? snapshot_of(*begun.hub, name.repo) : Snapshot{name.repo, commit};
  const std::vector<Entry> entries = begun.hub->files(begun.snapshot);
  begun.texts = model_texts(entries);
  // Before anything is fetched: is there a model at all? The list of shards is read when it is here.
  if (std::find(begun.texts.begin(), begun.texts.end(), kShardIndex) == begun.texts.end())
    (void)model_weights(entries, {}, what);
  reporter.step(str(doing, " ", what, " at ", begun.snapshot.commit.substr(0, 12), " from ", settings.endpoint));
  (void)begun.hub->fetch_all(begun.snapshot, begun.texts);
  begun.weights = model_weights(entries, cache.folder(begun.snapshot), what);
  return begun;
}

ModelPlace download(const Settings& settings, const Cache& cache, const ModelName& name, const std::string& commit,
                    Reporter& reporter) {
  const Begun begun = begin(settings, cache, name, commit, "downloading", reporter);
  (void)begun.hub->fetch_all(begun.snapshot, begun.weights);
  return {opened_path(cache.folder(begun.snapshot), begun.weights), name, begun.snapshot.commit};
}

ModelPlace find_or_download(const ModelName& name, const std::string& commit, Reporter& reporter) {
  const Settings settings = settings_from_environment(name.service);
  const std::unique_ptr<Cache> cache = open_cache(settings);
  if (auto there = in_cache(*cache, name, settings.offline)) return *std::move(there);
  if (settings.offline) {
    const std::string why =
        str(describe(name.repo), ": is not, or not as a whole, in the cache '", settings.cache.string(),
            "' at revision '", name.repo.revision, "', and HF_HUB_OFFLINE forbids downloading it; unset it");
    if (!cache->commit_of(name.repo)) throw UnknownRepo(ErrorCode::input, why);
    throw_input(why);
  }
  try {
    return download(settings, *cache, name, commit, reporter);
  } catch (const Error& error) {
    // Nothing to be had from the hub: what others downloaded, and nobody listed, may still be a model.
    if (error.code() == ErrorCode::interrupted) throw;
    auto there = in_cache(*cache, name, true);
    if (!there) throw;
    reporter.warn(str(error.what(), "; what the cache has of it is used"));
    return *std::move(there);
  }
}

struct Fetched {
  std::mutex mutex;
  std::map<std::string, ModelPlace> places;     // by spelled() name and cache
  std::map<std::string, std::string> outlined;  // commits, by the same
};

Fetched& fetched() {
  static Fetched all;
  return all;
}

std::string key_of(const ModelName& name) {
  return str(spelled(name.service, name.repo), " ", settings_from_environment(name.service).cache.string());
}

}  // namespace

ModelPlace fetch_model(const ModelName& name, Reporter& reporter) {
  Fetched& all = fetched();
  const std::lock_guard lock(all.mutex);
  const std::string key = key_of(name);
  if (const auto found = all.places.find(key); found != all.places.end()) return found->second;
  return all.places.emplace(key, find_or_download(name, all.outlined[key], reporter)).first->second;
}

std::unique_ptr<ModelOutline> outline_model(const ModelName& name, Reporter& reporter) {
  Fetched& all = fetched();
  const std::lock_guard lock(all.mutex);
  const std::string key = key_of(name);
  if (all.places.contains(key)) return nullptr;
  const Settings settings = settings_from_environment(name.service);
  const std::unique_ptr<Cache> cache = open_cache(settings);
  if (settings.offline || in_cache(*cache, name, false)) return nullptr;
  Begun begun;
  try {
    begun = begin(settings, *cache, name, all.outlined[key], "looking at", reporter);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::interrupted || !in_cache(*cache, name, true)) throw;
    return nullptr;  // find_or_download() says it
  }
  all.outlined[key] = begun.snapshot.commit;
  const std::string alone = begun.weights.size() == 1 ? begun.weights.front() : std::string();
  if (io::is_whole_model_name(alone)) return nullptr;
  try {
    return std::make_unique<ModelOutline>(*begun.hub, begun.snapshot, cache->folder(begun.snapshot), begun.texts,
                                          begun.weights, settings.parallel);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::resource) throw;
    return nullptr;  // a hub without ranges, a disk without room for it: nothing that the download needs
  }
}

fs::path fetch_config(const ModelName& name, Reporter& reporter) {
  const std::unique_ptr<Hub> hub = open_hub(settings_from_environment(name.service), reporter);
  return hub->fetch(snapshot_of(*hub, name.repo), "config.json");
}

std::optional<ModelPlace> fetched_model(std::string_view text) {
  const auto name = parse_model_name(text);
  if (!name) return std::nullopt;
  Fetched& all = fetched();
  const std::lock_guard lock(all.mutex);
  if (all.places.empty()) return std::nullopt;  // variables of hubs, wrong ones too, are nothing to a local model
  const auto found = all.places.find(key_of(*name));
  return found == all.places.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace arkit::hub
