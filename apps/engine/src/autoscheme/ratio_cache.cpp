// Ratios of tuned to rounded errors on disk: an array by option for every layer; null = not
// looked at, false = the layer saw too few tokens.
#include <cmath>

#include <arkit/error.h>
#include <arkit/str.h>

#include "autoscheme/tuned_ratio.h"
#include "util/sha256.h"

namespace arkit::auto_scheme {
namespace {

// Raised whenever equal inputs give other ratios.
constexpr int64_t kRatioVersion = 1;

std::string ratio_key(const std::string& score_key, const RatioSettings& settings) {
  const TuneOptions& tune = settings.tune;
  const json::Object key{{"version", kRatioVersion},       {"scores", score_key},
                         {"seed", settings.seed},          {"iters", tune.iters},
                         {"momentum", tune.momentum},      {"minmax", tune.enable_minmax_tuning},
                         {"alg_ext", tune.enable_alg_ext}, {"adam", tune.enable_adam},
                         {"last", tune.not_use_best_mse}};
  return sha256_hex(json::dump(key, 0, true));
}

void read_ratios(const json::Value& value, size_t layer, const std::string& name, size_t options, TunedRatios& out) {
  if (!value.is_array() || value.get_array().size() != options)
    throw_input(str("layer '", name, "' must have ", options, " ratios"));
  for (size_t option = 0; option < options; ++option) {
    const json::Value& ratio = value.get_array()[option];
    if (ratio.is_null()) continue;
    if (ratio.is_bool() && !ratio.as_bool()) {
      out[{layer, option}] = std::nullopt;
      continue;
    }
    if (!ratio.is_number()) throw_input(str("a ratio of '", name, "' is no number"));
    const double number = ratio.to_number<double>();
    if (!std::isfinite(number) || number < 0.0) throw_input(str("a ratio of '", name, "' is out of range"));
    out[{layer, option}] = number;
  }
}

}  // namespace

RatioCache::RatioCache(const std::filesystem::path& folder, const std::string& score_key, const RatioSettings& settings,
                       std::span<const PoolLayer> pool, size_t options)
    : pool_(pool), options_(options), kept_(folder, "ratios", ratio_key(score_key, settings)) {}

TunedRatios RatioCache::load(Reporter& reporter) const {
  TunedRatios ratios;
  const auto read = [&](const json::Object& content) {
    const json::Value* layers = json::find(content, "layers");
    if (layers == nullptr || !layers->is_object()) throw_input("it has no layers");
    for (size_t i = 0; i < pool_.size(); ++i)
      if (const json::Value* value = json::find(layers->get_object(), pool_[i].plan.name); value != nullptr)
        read_ratios(*value, i, pool_[i].plan.name, options_, ratios);
  };
  return kept_.load(read, reporter) ? ratios : TunedRatios();
}

void RatioCache::store(const TunedRatios& ratios, Reporter& reporter) const {
  json::Object layers;
  for (const auto& [entry, ratio] : ratios) {
    json::Value& row = layers[pool_[entry.layer].plan.name];
    if (!row.is_array()) row = json::Array(options_, json::Value());
    row.get_array()[entry.option] = ratio ? json::Value(*ratio) : json::Value(false);
  }
  kept_.store({{"layers", std::move(layers)}}, reporter);
}

}  // namespace arkit::auto_scheme
