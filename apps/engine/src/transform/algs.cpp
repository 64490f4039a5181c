#include "transform/algs.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include <arkit/error.h>
#include <arkit/str.h>
#include <arkit/transform.h>

namespace arkit {
namespace {

constexpr std::string_view kTunes = "signround", kRounds = "rtn";

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\n") - begin + 1);
}

// At the commas outside of braces and of strings in them.
std::vector<std::string> entries(const std::string& text) {
  std::vector<std::string> found(1);
  int depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted && c == '\\' && i + 1 < text.size()) {
      found.back() += c;
      found.back() += text[++i];
      continue;
    }
    if (depth > 0 && c == '"') quoted = !quoted;
    if (!quoted && c == '{') ++depth;
    if (!quoted && c == '}') --depth;
    if (c == ',' && depth == 0 && !quoted)
      found.emplace_back();
    else
      found.back() += c;
  }
  return found;
}

json::Object settings_of(std::string_view json, const std::string& name) {
  if (json.empty()) return {};
  try {
    const json::Value value = json::parse(json, str("algs: the settings of '", name, "'"));
    if (value.is_object()) return value.get_object();
  } catch (const Error& error) {
    throw_usage(error.what());
  }
  throw_usage(str("algs: the settings of '", name, "' are no JSON object, expected ", name, "{\"setting\": value}"));
}

AlgChoice transform_of(const std::string& name, std::string_view json, const Registry& registry) {
  std::vector<std::string> known = registry.names(Kind::transform);
  if (std::find(known.begin(), known.end(), name) == known.end()) {
    known.emplace_back(kTunes);
    known.emplace_back(kRounds);
    throw_unsupported(unknown_name("algorithm", name, known, str("expected some of ", quoted_list(known))));
  }
  return {name, registry.transform(name).settings(settings_of(json, name))};
}

}  // namespace

Algs parse_algs(const std::string& text, const Registry& registry) {
  Algs algs;
  if (text.empty()) return algs;
  const std::vector<std::string> all = entries(text);
  for (size_t i = 0; i < all.size(); ++i) {
    const std::string_view entry = trimmed(all[i]);
    const size_t brace = std::min(entry.find('{'), entry.size());
    const std::string name = lower(trimmed(entry.substr(0, brace)));
    const std::string_view json = entry.substr(brace);
    if (name.empty())
      throw_usage(str("algs '", printable(text), "' has an empty name; names are separated by single commas"));
    if (name == kTunes || name == kRounds) {
      if (i + 1 < all.size())
        throw_usage(str("algs '", printable(text), "': '", name, "' ends the list, since nothing is left to change"));
      if (!json.empty()) throw_usage(str("algs: '", name, "' has no settings here; use the options of tuning"));
      algs.tunes = name == kTunes;
      continue;
    }
    if (AlgChoice choice = transform_of(name, json, registry);
        registry.transform(name).info().stage == TransformStage::block) {
      algs.transforms.push_back(std::move(choice));
    } else {
      if (!algs.transforms.empty() || !algs.rotation.empty())
        throw_usage(str("algs '", printable(text), "': '", name, "' changes the checkpoint, so it comes first"));
      algs.rotation = choice.settings.empty() ? name : json::dump(choice.settings);
      continue;
    }
    const auto same = [&](const AlgChoice& other) { return other.name == name; };
    if (std::count_if(algs.transforms.begin(), algs.transforms.end(), same) > 1)
      throw_usage(str("algs names '", name, "' twice; once is enough"));
  }
  if (!algs.tunes) algs.tunes = false;
  return algs;
}

void apply_algs(const Algs& algs, QuantizeOptions& options) {
  if (!algs.tunes) return;
  if (!algs.rotation.empty()) {
    if (!options.rotation.empty()) throw_usage("--rotation and algs both name a rotation; leave one of them out");
    options.rotation = algs.rotation;
  }
  std::optional<int64_t>& iters = options.tuning.iters;
  if (*algs.tunes) {
    if (iters == 0 || (!iters && (lower(options.recipe) == "rtn" || lower(options.recipe) == "opt-rtn")))
      throw_usage(str("algs ends in '", kTunes, "', which tunes, and ", iters ? "iters is 0" : "the recipe does not",
                      "; end it in '", kRounds, "', or leave that out"));
    return;
  }
  if (iters.value_or(0) > 0)
    throw_usage(str("algs ends in '", kRounds, "', which tunes nothing, and iters is ", *iters, "; add ',", kTunes,
                    "' to algs, or leave iters out"));
  iters = 0;
}

}  // namespace arkit
