#include "calibration/data_files.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include <arkit/error.h>
#include <arkit/json.h>
#include <arkit/str.h>

#include "calibration/row_reader.h"
#include "util/yaml_reader.h"

namespace arkit::calibration {
namespace {

using Splits = std::vector<std::pair<std::string, std::vector<std::string>>>;  // name -> paths, in order of mention

std::vector<std::string>& paths_of(Splits& splits, const std::string& name) {
  for (auto& [known, paths] : splits)
    if (known == name) return paths;
  return splits.emplace_back(name, std::vector<std::string>()).second;
}

std::string scalar_text(const json::Value& value) {
  return value.is_string() ? std::string(value.get_string()) : json::dump(value);
}

std::vector<std::string> texts_of(const json::Value& value) {
  std::vector<std::string> out;
  if (value.is_string()) out.emplace_back(value.get_string());
  if (value.is_array())
    for (const json::Value& item : value.get_array())
      if (item.is_string()) out.emplace_back(item.get_string());
  return out;
}

constexpr size_t kMaxPatterns = 1000;  // each is held against every file

void add_matching(std::vector<std::string>& to, const std::vector<std::string>& paths, std::string pattern) {
  if (pattern.starts_with("./")) pattern.erase(0, 2);
  const std::set<std::string> known(to.begin(), to.end());
  for (const std::string& path : paths) {
    throw_if_interrupted();
    if (is_data_file(path) && matches_pattern(path, pattern) && !known.contains(path)) to.push_back(path);
  }
}

// ---- names alone

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// "train" of "data/train-00003-of-00010-3f2a.parquet".
std::optional<std::string> numbered_split(std::string_view path) {
  const std::string_view name = path.substr(path.rfind('/') + 1);
  const size_t of = name.find("-of-");
  if (of == std::string_view::npos || of < 7) return std::nullopt;
  const auto five_digits = [](std::string_view text) {
    return text.size() >= 5 && std::all_of(text.begin(), text.begin() + 5, is_digit);
  };
  if (name[of - 6] != '-' || !five_digits(name.substr(of - 5)) || !five_digits(name.substr(of + 4)))
    return std::nullopt;
  return std::string(name.substr(0, of - 6));
}

// The split whose name stands in the path as a word.
std::optional<std::string> spoken_split(std::string_view path) {
  struct Words {
    std::string_view split;
    std::array<std::string_view, 4> words;
  };
  constexpr std::array<Words, 3> kWords{Words{"train", {"train", "training", "", ""}},
                                        Words{"validation", {"validation", "valid", "val", "dev"}},
                                        Words{"test", {"test", "testing", "eval", "evaluation"}}};
  const std::string text = lower(path);
  const auto letter = [&](size_t i) { return i < text.size() && text[i] >= 'a' && text[i] <= 'z'; };
  for (const Words& entry : kWords)
    for (const std::string_view word : entry.words)
      for (size_t at = word.empty() ? std::string::npos : text.find(word); at != std::string::npos;
           at = text.find(word, at + 1))
        if ((at == 0 || !letter(at - 1)) && !letter(at + word.size())) return std::string(entry.split);
  return std::nullopt;
}

// Files that describe a data set instead of holding one.
bool is_description(std::string_view path) {
  const std::string name = lower(path.substr(path.rfind('/') + 1));
  constexpr std::array<std::string_view, 9> kNames{"dataset_infos.json", "dataset_info.json", "dataset_dict.json",
                                                   "state.json",         "config.json",       "license.txt",
                                                   "requirements.txt",   "notice.txt",        "metadata.json"};
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end() || path.starts_with(".") ||
         path.find("/.") != std::string_view::npos;
}

Splits splits_by_name(const std::vector<std::string>& paths) {
  Splits numbered, spoken, all;
  for (const std::string& path : paths) {
    throw_if_interrupted();
    if (!is_data_file(path) || is_description(path)) continue;
    if (auto split = numbered_split(path)) paths_of(numbered, *split).push_back(path);
    if (auto split = spoken_split(path)) paths_of(spoken, *split).push_back(path);
    paths_of(all, "train").push_back(path);
  }
  return !numbered.empty() ? numbered : !spoken.empty() ? spoken : all;
}

// ---- the card

struct Config {
  std::string name;
  json::Object entry;  // of the card
};

// data_files: "a/*", ["a/*", "b/*"], [{split: train, path: "a/*"}], {train: "a/*"}
Splits card_splits(const json::Value& value, const std::vector<std::string>& paths) {
  Splits splits;
  size_t count = 0;
  const auto add = [&](const std::string& split, const json::Value& patterns) {
    for (const std::string& pattern : texts_of(patterns)) {
      if (++count > kMaxPatterns) throw_input(str("has more than ", kMaxPatterns, " patterns of files"));
      add_matching(paths_of(splits, split), paths, pattern);
    }
  };
  if (value.is_object()) {
    for (const auto& member : value.get_object()) add(std::string(member.key()), member.value());
  } else if (value.is_array() && !value.get_array().empty() && value.get_array().front().is_object()) {
    for (const json::Value& item : value.get_array()) {
      if (!item.is_object()) continue;
      const json::Value* split = json::find(item.get_object(), "split");
      if (const json::Value* path = json::find(item.get_object(), "path"))
        add(split == nullptr ? "train" : scalar_text(*split), *path);
    }
  } else {
    add("train", value);
  }
  return splits;
}

std::vector<Config> card_configs(const json::Object& head) {
  std::vector<Config> configs;
  const json::Value* list = json::find(head, "configs");
  if (list == nullptr || !list->is_array()) return configs;
  for (const json::Value& item : list->get_array()) {
    if (!item.is_object()) continue;
    const json::Value* name = json::find(item.get_object(), "config_name");
    configs.push_back({name == nullptr ? "default" : scalar_text(*name), item.get_object()});
  }
  return configs;
}

std::vector<std::string> inside_folder(const std::string& folder, const std::vector<std::string>& paths) {
  std::vector<std::string> inside;
  for (const std::string& path : paths)
    if (folder.empty() || path.starts_with(folder + "/")) inside.push_back(path);
  return inside;
}

Splits splits_of(const Config& config, const std::vector<std::string>& paths) {
  if (const json::Value* files = json::find(config.entry, "data_files")) return card_splits(*files, paths);
  const json::Value* folder = json::find(config.entry, "data_dir");
  std::string inside;
  if (folder != nullptr && folder->is_string()) inside = folder->get_string();
  while (inside.ends_with('/')) inside.pop_back();
  return splits_by_name(inside_folder(inside == "." ? std::string() : inside, paths));
}

bool usual(const Config& config) {
  const json::Value* said = json::find(config.entry, "default");
  return config.name == "default" || (said != nullptr && said->is_bool() && said->get_bool());
}

std::vector<std::string> names_of(const Splits& splits) {
  std::vector<std::string> names;
  for (const auto& [name, paths] : splits) names.push_back(name);
  return names;
}

const Config& wanted_config(const std::vector<Config>& configs, const std::string& name, const std::string& what) {
  std::vector<std::string> names;
  for (const Config& config : configs) {
    if (name.empty() ? usual(config) : config.name == name) return config;
    names.push_back(config.name);
  }
  if (name.empty() && configs.size() == 1) return configs.front();
  if (names.size() > 20) names.resize(20);
  if (name.empty())
    throw_usage(str(what, ": has several configurations; add ':config=' and one of ", quoted_list(names)));
  throw_usage(unknown_name(str("configuration of ", what), name, names, str("known are ", quoted_list(names))));
}

// By the card where it says something, else by names. A card that cannot be understood is warned about.
Splits find_splits(const std::vector<std::string>& paths, std::string_view card, std::string& config,
                   const std::string& what, Reporter& reporter) {
  const auto head = card.starts_with("---") ? front_matter(card) : std::nullopt;
  if (head) {
    try {
      const json::Value parsed = parse_yaml(*head, "README.md");
      const auto configs = parsed.is_object() ? card_configs(parsed.get_object()) : std::vector<Config>();
      if (!configs.empty()) {
        const Config& chosen = wanted_config(configs, config, what);
        config = chosen.name;
        return splits_of(chosen, paths);
      }
    } catch (const Error& error) {
      if (error.code() != ErrorCode::input) throw;
      reporter.warn(
          str(what, ": its card is not understood (", error.what(), "); splits are told by the files' names"));
    }
  }
  return splits_by_name(inside_folder(config, paths));
}

// CONFIG/SPLIT/0000.parquet, as the hub converts data sets; a split of which only a part was converted is "partial-SPLIT".
Splits find_converted(const std::vector<std::string>& paths, std::string& config, const std::string& what) {
  std::vector<Config> configs;
  for (const std::string& path : paths) {
    const std::string name = path.substr(0, path.find('/'));
    if (is_data_file(path) && std::count(path.begin(), path.end(), '/') == 2 &&
        (configs.empty() || configs.back().name != name))
      configs.push_back({name, {}});
  }
  Splits splits;
  if (configs.empty()) return splits;
  config = wanted_config(configs, config, what).name;
  for (const std::string& path : inside_folder(config, paths)) {
    std::string split = path.substr(config.size() + 1);
    split.resize(split.find('/') == std::string::npos ? 0 : split.find('/'));
    constexpr std::string_view kPartial = "partial-";
    if (split.starts_with(kPartial)) split.erase(0, kPartial.size());
    if (!split.empty() && is_data_file(path)) paths_of(splits, split).push_back(path);
  }
  return splits;
}

// Files without a card whose folder or name says a split that is none of the usual ones ("train_sft.jsonl").
std::vector<std::string> named_like(const std::string& split, const std::vector<std::string>& paths) {
  std::vector<std::string> out;
  for (const std::string& path : paths)
    if (is_data_file(path) && !is_description(path) && path.find(split) != std::string::npos) out.push_back(path);
  return out;
}

}  // namespace

bool matches_pattern(std::string_view path, std::string_view pattern) {
  // Where the last * or ** stood, and from where of the path it is tried next.
  size_t p = 0, i = 0, star = std::string_view::npos, resume = 0, deep = std::string_view::npos, deep_resume = 0;
  const auto one_of_set = [&](char c) -> std::optional<bool> {
    const size_t end = pattern.find(']', p + 2);
    if (end == std::string_view::npos) return std::nullopt;
    bool inside = false;
    for (size_t k = p + 1; k < end; ++k) {
      if (k + 2 < end && pattern[k + 1] == '-') {
        inside = inside || (pattern[k] <= c && c <= pattern[k + 2]);
        k += 2;
      } else {
        inside = inside || pattern[k] == c;
      }
    }
    if (inside) p = end + 1;
    return inside;
  };
  while (i < path.size() || p < pattern.size()) {
    if (p < pattern.size()) {
      if (pattern.substr(p, 2) == "**") {
        p += 2;
        if (pattern.substr(p, 1) == "/") ++p;  // "**/" may stand for nothing
        deep = p;
        deep_resume = i;
        star = std::string_view::npos;
        continue;
      }
      if (pattern[p] == '*') {
        star = ++p;
        resume = i;
        continue;
      }
      if (i < path.size()) {
        if (pattern[p] == '[') {
          if (const auto inside = one_of_set(path[i]); inside && *inside) {
            ++i;
            continue;
          }
        } else if (pattern[p] == path[i] || (pattern[p] == '?' && path[i] != '/')) {
          ++p;
          ++i;
          continue;
        }
      }
    }
    if (star != std::string_view::npos && resume < path.size() && path[resume] != '/') {
      p = star;
      i = ++resume;
    } else if (deep != std::string_view::npos && deep_resume < path.size()) {
      p = deep;
      i = ++deep_resume;
      star = std::string_view::npos;
    } else {
      return false;
    }
  }
  return true;
}

DataFiles choose_data_files(const std::vector<std::string>& paths, std::string_view card, const DataWanted& wanted,
                            const std::string& what, Reporter& reporter) {
  DataFiles out{.config = wanted.config, .splits = wanted.splits, .paths = {}};
  if (!wanted.files.empty()) {
    for (const std::string& pattern : wanted.files) add_matching(out.paths, paths, pattern);
    return out;
  }
  const Splits splits =
      wanted.converted ? find_converted(paths, out.config, what) : find_splits(paths, card, out.config, what, reporter);
  if (std::all_of(splits.begin(), splits.end(), [](const auto& split) { return split.second.empty(); })) return out;
  const auto find = [&](std::string_view name) {
    return std::find_if(splits.begin(), splits.end(), [&](const auto& split) { return split.first == name; });
  };
  if (out.splits.empty()) {
    if (find("train") == splits.end() && splits.size() != 1)
      throw_usage(str(what, ": has no split 'train'; add ':split=' and one of ", quoted_list(names_of(splits))));
    out.splits = {find("train") != splits.end() ? std::string("train") : splits.front().first};
  }
  for (const std::string& name : out.splits) {
    const auto found = find(name);
    const auto files = found != splits.end() ? found->second : named_like(name, inside_folder(wanted.config, paths));
    if (files.empty()) {
      const std::vector<std::string> names = names_of(splits);
      throw_usage(unknown_name(str("split of ", what), name, names, str("known are ", quoted_list(names))));
    }
    out.paths.insert(out.paths.end(), files.begin(), files.end());
  }
  return out;
}

}  // namespace arkit::calibration
