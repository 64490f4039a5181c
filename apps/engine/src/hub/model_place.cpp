#include "hub/model_place.h"

#include <algorithm>
#include <functional>
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
  try {
    const std::vector<std::string> weights = model_weights(entries, cache.folder(snapshot), describe(snapshot.repo));
    if (!there(weights)) return std::nullopt;
    return opened_path(cache.folder(snapshot), weights);
  } catch (const Error&) {
    return std::nullopt;  // the hub is asked, and refuses it where the list is right
  }
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

// Into `model`, of which hub and snapshot are there.
void fill_texts(ModelTexts& model, const Settings& settings, const Cache& cache, std::string_view doing,
                Reporter& reporter) {
  const std::string what = describe(model.snapshot.repo);
  const std::vector<Entry> entries = model.hub->files(model.snapshot);
  model.texts = model_texts(entries);
  // Before anything is fetched: is there a model at all? The list of shards is read when it is here.
  const bool has_index = std::find(model.texts.begin(), model.texts.end(), kShardIndex) != model.texts.end();
  if (!has_index) (void)model_weights(entries, {}, what);
  reporter.step(str(doing, " ", what, " at ", model.snapshot.commit.substr(0, 12), " from ", settings.endpoint));
  (void)model.hub->fetch_all(model.snapshot, model.texts);
  model.folder = cache.folder(model.snapshot);
  model.weights.clear();
  for (const std::string& path : model_weights(entries, model.folder, what))
    model.weights.push_back(
        *std::find_if(entries.begin(), entries.end(), [&](const Entry& entry) { return entry.path == path; }));
}

// `commit` = the one that this process has seen the name at, or empty.
ModelTexts download_texts(const Settings& settings, const Cache& cache, const ModelName& name,
                          const std::string& commit, std::string_view doing, Reporter& reporter) {
  ModelTexts model{.hub = open_hub(settings, reporter)};
  // Contents that an older commit shares with it are there already.
  model.snapshot = commit.empty() ? snapshot_of(*model.hub, name.repo) : Snapshot{name.repo, commit};
  try {
    fill_texts(model, settings, cache, doing, reporter);
  } catch (const Error& error) {
    // A list that lacks files makes no model; was it the hub's?
    const bool by_list = error.code() == ErrorCode::input || error.code() == ErrorCode::unsupported;
    if (!by_list || !model.hub->ask_again(model.snapshot)) throw;
    fill_texts(model, settings, cache, doing, reporter);
  }
  return model;
}

std::vector<std::string> paths_of(const std::vector<Entry>& files) {
  std::vector<std::string> paths;
  for (const Entry& file : files) paths.push_back(file.path);
  return paths;
}

ModelPlace download(const Settings& settings, const Cache& cache, const ModelName& name, const std::string& commit,
                    Reporter& reporter) {
  const ModelTexts model = download_texts(settings, cache, name, commit, "downloading", reporter);
  const std::vector<std::string> weights = paths_of(model.weights);
  (void)model.hub->fetch_all(model.snapshot, weights);
  return {opened_path(model.folder, weights), name, model.snapshot.commit};
}

void require_own_links(const ModelPlace& place) {
  const Settings settings = settings_from_environment(place.name.service);
  open_cache(settings)->require_own_links({place.name.repo, place.commit});
}

using Download = std::function<void(const Settings& settings, const Cache& cache)>;

// What the cache has whole; nothing where `fetch` had to be called, and did its work.
std::optional<ModelPlace> find_or(const Download& fetch, const ModelName& name, Reporter& reporter) {
  const Settings settings = settings_from_environment(name.service);
  const std::unique_ptr<Cache> cache = open_cache(settings);
  if (auto there = in_cache(*cache, name, settings.offline)) return there;
  if (settings.offline) {
    const std::string why =
        str(describe(name.repo), ": is not, or not as a whole, in the cache '", settings.cache.string(),
            "' at revision '", name.repo.revision, "', and HF_HUB_OFFLINE forbids downloading it; unset it");
    if (!cache->commit_of(name.repo)) throw UnknownRepo(ErrorCode::input, why);
    throw_input(why);
  }
  try {
    fetch(settings, *cache);
    return std::nullopt;
  } catch (const Error& error) {
    // Nothing to be had from the hub: what others downloaded, and nobody listed, may still be a model.
    if (error.code() == ErrorCode::interrupted) throw;
    auto there = in_cache(*cache, name, true);
    if (!there) throw;
    reporter.warn(str(error.what(), "; what the cache has of it is used"));
    return there;
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
  if (const auto found = all.places.find(key); found != all.places.end() && found->second.whole) return found->second;
  ModelPlace place;
  const auto take_all = [&](const Settings& settings, const Cache& cache) {
    place = download(settings, cache, name, all.outlined[key], reporter);
  };
  if (auto there = find_or(take_all, name, reporter)) place = *std::move(there);
  require_own_links(place);
  return all.places.insert_or_assign(key, std::move(place)).first->second;
}

std::optional<ModelTexts> fetch_texts(const ModelName& name, Reporter& reporter) {
  Fetched& all = fetched();
  const std::lock_guard lock(all.mutex);
  const std::string key = key_of(name);
  if (const auto found = all.places.find(key); found != all.places.end() && found->second.whole) return std::nullopt;
  std::optional<ModelTexts> texts;
  const auto take_texts = [&](const Settings& settings, const Cache& cache) {
    texts = download_texts(settings, cache, name, all.outlined[key], "downloading", reporter);
  };
  std::optional<ModelPlace> place = find_or(take_texts, name, reporter);
  if (texts) place = ModelPlace{texts->folder, name, texts->snapshot.commit, false};
  require_own_links(*place);
  all.places.insert_or_assign(key, *std::move(place));
  return texts;
}

std::map<std::string, std::string> listed_hashes(const ModelPlace& place) {
  const Settings settings = settings_from_environment(place.name.service);
  std::map<std::string, std::string> hashes;
  if (const auto listing = open_cache(settings)->listing({place.name.repo, place.commit}))
    for (const RemoteFile& file : *listing)
      if (!file.sha256.empty()) hashes.emplace(file.path, file.sha256);
  return hashes;
}

std::unique_ptr<ModelOutline> outline_model(const ModelName& name, Reporter& reporter) {
  Fetched& all = fetched();
  const std::lock_guard lock(all.mutex);
  const std::string key = key_of(name);
  if (all.places.contains(key)) return nullptr;
  const Settings settings = settings_from_environment(name.service);
  const std::unique_ptr<Cache> cache = open_cache(settings);
  if (settings.offline || in_cache(*cache, name, false)) return nullptr;
  ModelTexts begun;
  try {
    begun = download_texts(settings, *cache, name, all.outlined[key], "looking at", reporter);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::interrupted || !in_cache(*cache, name, true)) throw;
    return nullptr;  // fetch_model() says it
  }
  all.outlined[key] = begun.snapshot.commit;
  const std::string alone = begun.weights.size() == 1 ? begun.weights.front().path : std::string();
  if (io::is_whole_model_name(alone)) return nullptr;
  try {
    return std::make_unique<ModelOutline>(*begun.hub, begun.snapshot, begun.folder, begun.texts,
                                          paths_of(begun.weights), settings.parallel);
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
