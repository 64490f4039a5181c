#include "quant/recipes.h"

#include <algorithm>
#include <array>

#include <arkit/error.h>
#include <arkit/str.h>

#include "options/option_checks.h"

namespace arkit {
namespace {

constexpr std::array<Recipe, 5> kRecipes{{
    {"default", "SignRound, 200 iterations", 8, 200, 2048, 128, 0.0, std::nullopt},
    {"best", "SignRound, 1000 iterations on 512 samples", 8, 1000, 2048, 512, 0.0, std::nullopt},
    {"light", "SignRound, 50 iterations", 8, 50, 2048, 128, 5e-3, std::nullopt},
    {"opt-rtn", "no tuning: scale search weighted by activation statistics", 8, 0, 2048, 128, 0.0, false},
    {"rtn", "no tuning, no data: plain round to nearest", 8, 0, 2048, 1, 0.0, true},
}};

// One of two options would do nothing.
void check_contradictions(const TuningOptions& options) {
  if (options.momentum > 0.0 && options.enable_adam)
    throw_usage("--momentum belongs to sign descent, and --enable_adam takes its place; leave one of them out");
  if (options.minmax_lr && !options.enable_minmax_tuning)
    throw_usage("--minmax_lr is the rate of scales that --disable_minmax_tuning keeps; leave one of them out");
  if (options.minmax_lr && options.enable_neuqi)
    throw_usage("--minmax_lr is the rate of scales that --enable_neuqi freezes; leave one of them out");
  if (options.dynamic_max_gap > 0 && options.not_use_best_mse.value_or(false))
    throw_usage("--dynamic_max_gap looks for a better loss, and --not_use_best_mse for none; leave one of them out");
}

// What scheme and layers must be like for it: tuning/neuqi_plan.h.
void check_neuqi(const ResolvedTuning& tuning) {
  if (!tuning.options.enable_neuqi) return;
  if (tuning.iters == 0 && tuning.disable_opt_rtn.value_or(false))
    throw_usage(
        "--enable_neuqi is a search, and --disable_opt_rtn (or --recipe rtn) asks for rounding without one; leave one "
        "of them out");
  if (tuning.enable_alg_ext && tuning.iters > 0)
    throw_usage("--enable_neuqi freezes the scales that --enable_alg_ext searches and tunes; leave one of them out");
}

}  // namespace

std::span<const Recipe> recipes() {
  return kRecipes;
}

ResolvedTuning resolve_tuning(std::string_view name, const TuningOptions& options, bool calibrates) {
  const std::string wanted = lower(name);
  const auto* recipe = std::find_if(kRecipes.begin(), kRecipes.end(), [&](const Recipe& r) {
    return r.name == wanted || (wanted == "opt_rtn" && r.name == "opt-rtn");
  });
  if (recipe == kRecipes.end()) {
    if (wanted.ends_with(".yaml") || wanted.ends_with(".yml") || wanted.ends_with(".json") || wanted.ends_with(".toml"))
      throw_usage(str("recipe '", printable(name),
                      "' is a file, --recipe takes a name; give an llm-compressor recipe with "
                      "--recipe_file, options of arkit (TOML) with --config"));
    std::vector<std::string> names;
    for (const Recipe& r : kRecipes) names.emplace_back(r.name);
    throw_unsupported(unknown_name("recipe", name, names, "'arkit list recipes' shows all"));
  }
  QuantizeOptions of_tuning;
  of_tuning.tuning = options;
  check_ranges(of_tuning);
  ResolvedTuning tuning{.options = options};
  tuning.iters = options.iters.value_or(recipe->iters);
  const int64_t usual = calibrates ? std::max(recipe->nsamples, kRecipes.front().nsamples) : recipe->nsamples;
  tuning.nsamples = options.nsamples.value_or(usual);
  tuning.seqlen = options.seqlen.value_or(recipe->seqlen);
  tuning.batch_size = std::min(options.batch_size.value_or(recipe->batch_size), tuning.nsamples);
  tuning.lr = options.lr.value_or(recipe->lr);
  tuning.minmax_lr = options.minmax_lr.value_or(0.0);
  tuning.disable_opt_rtn = options.disable_opt_rtn ? options.disable_opt_rtn : recipe->disable_opt_rtn;
  tuning.enable_alg_ext = options.enable_alg_ext.value_or(false);
  tuning.not_use_best_mse = options.not_use_best_mse.value_or(false);
  tuning.nblocks = options.nblocks.value_or(1);
  check_contradictions(options);
  check_neuqi(tuning);
  return tuning;
}

void decide_for_bits(ResolvedTuning& tuning, std::string_view recipe, const TensorQuant& weight, bool transforms) {
  const TuningOptions& given = tuning.options;
  const bool few_bits = weight.quantized() && weight.data_type == "int" && weight.bits <= 3;
  if (lower(recipe) != "best" || tuning.iters == 0 || !few_bits) return;
  if (!given.enable_neuqi) tuning.enable_alg_ext = given.enable_alg_ext.value_or(true);
  if (!transforms) tuning.nblocks = given.nblocks.value_or(2);
  if (given.dynamic_max_gap < 0) tuning.not_use_best_mse = given.not_use_best_mse.value_or(true);
}

}  // namespace arkit
