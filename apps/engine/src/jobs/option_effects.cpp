#include "jobs/option_effects.h"

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/error.h>
#include <arkit/scheme.h>
#include <arkit/sdk/gguf_blocks.h>
#include <arkit/str.h>

#include "options/option_checks.h"
#include "quant/plan.h"
#include "quant/scheme_resolver.h"

namespace arkit {
namespace {

// Options by name, of which some would do nothing.
class Idle {
 public:
  void add(bool idle, std::string_view name) {
    if (idle) names_ += str(names_.empty() ? "--" : ", --", name);
  }
  void add(std::string_view names) { names_ += str(names_.empty() || names.empty() ? "" : ", ", names); }
  void warn(std::string_view why, Reporter& reporter) const {
    if (!names_.empty()) reporter.warn(sentence(why));
  }
  void inform(std::string_view why, Reporter& reporter) const {
    if (!names_.empty()) reporter.info(sentence(why));
  }
  [[nodiscard]] const std::string& names() const { return names_; }

 private:
  [[nodiscard]] std::string sentence(std::string_view why) const {
    return str(why, ": ", names_, names_.find(',') == std::string::npos ? " has" : " have", " no effect");
  }

  std::string names_;
};

// "0" is what AutoRound's scripts say: the first accelerator, or the CPU where there is none.
void check_device(const std::string& device_map, Reporter& reporter) {
  if (device_map == "cpu") return;
  if (device_map != "auto" && device_map != "0")
    throw_unsupported(str("device_map '", printable(device_map),
                          "' is not available: quantization runs on the CPU in this version; use --device_map cpu"));
  reporter.info(str("--device_map ", device_map, ": quantization runs on the CPU in this version"));
}

void check_mix(const AutoSchemeOptions& mix) {
  const AutoSchemeOptions defaults;
  if (!mix.options.empty()) {
    if (mix.target_size && mix.bits_accounting != defaults.bits_accounting)
      throw_usage(
          "target_size counts the bytes of the export exactly; leave --ignore_scale_zp_bits and --bits_accounting "
          "autoround out, or give --avg_bits");
    if (!mix.use_cache && !mix.cache_dir.empty())
      throw_usage("--score_cache names a folder for scores, and --no_score_cache keeps none; leave one of them out");
    return;
  }
  QuantizeOptions idle;
  idle.auto_scheme = mix;
  // The flag brings its accounting with it.
  if (mix.ignore_scale_zp_bits) idle.auto_scheme.bits_accounting = defaults.bits_accounting;
  const std::string names = changed_options(idle, OptionNeeds::mix);
  if (!names.empty())
    throw_usage(
        str("AutoScheme needs schemes to choose from: add --options W4A16,W8A16 or others, or leave ", names, " out"));
}

void check_attention(const AttentionOptions& attention) {
  const AttentionOptions defaults;
  // Queries in few bits bring keys and values along, which may have a granularity of their own.
  if (attention.kv_dtype.empty() && attention.attention_dtype.empty() &&
      attention.kv_granularity != defaults.kv_granularity)
    throw_usage(
        "static_kv_granularity says how scales of keys and values are cut, and there are none; add "
        "--static_kv_dtype fp8, or leave it out");
  if (attention.attention_dtype.empty() && attention.attention_granularity != defaults.attention_granularity)
    throw_usage(
        "static_attention_granularity says how scales of queries are cut, and there are none; add "
        "--static_attention_dtype fp8, or leave it out");
}

void check_model_free(const QuantizeOptions& options) {
  if (!options.model_free.value_or(false)) return;
  const std::string recipe = lower(options.recipe);
  if (recipe != "default" && recipe != "rtn")
    throw_usage(str("model_free rounds without tuning or a search, and recipe '", printable(options.recipe),
                    "' asks for one; use --recipe rtn, or leave model_free out"));
  if (options.tuning.disable_opt_rtn == false)
    throw_usage("model_free rounds without a search; leave it or --enable_opt_rtn out");
}

// What a recipe file decides alone.
void check_recipe_file(const QuantizeOptions& options) {
  if (options.recipe_file.empty()) return;
  Idle idle;
  idle.add(!options.to_quant_block_names.empty(), "to_quant_block_names");
  idle.add(!options.on_indivisible.empty(), "on_indivisible");
  idle.add(options.allow_unmatched, "allow_unmatched");
  idle.add(!options.algs.empty(), "algs");
  if (!idle.names().empty())
    throw_usage(str("the recipe file states which layers are quantized and how; leave ", idle.names(), " out"));
}

bool any_layer(const QuantPlan& plan, const auto& is) {
  return std::any_of(plan.layers.begin(), plan.layers.end(), is);
}

// What leaves nothing to do is a mistake, unless 16 bits were asked for.
void refuse_empty_plan(const QuantPlan& plan) {
  if (!plan.global.quantized() || quantized_count(plan) > 0 || plan.attention.quantized()) return;
  std::map<std::string, int64_t> reasons;
  bool by_user = false;
  for (const LayerPlan& layer : plan.layers) {
    ++reasons[layer.reason];
    by_user = by_user || layer.user_fixed || layer.reason.find("to_quant_block_names") != std::string::npos;
  }
  std::string why;
  for (const auto& [reason, count] : reasons)
    why += str(why.empty() ? "" : "; ", count, count == 1 ? " layer: " : " layers: ", printable(reason));
  throw Error(by_user ? ErrorCode::usage : ErrorCode::unsupported,
              str("no layer would be quantized (", why.empty() ? "the model has none" : why,
                  "); change the options, or pass --scheme BF16 to copy the model as it is"));
}

void check_head(const QuantizeOptions& given, const QuantPlan& plan, Reporter& reporter) {
  if (!given.quant_lm_head || plan.tied_embeddings) {
    if (given.quant_lm_head && !any_layer(plan, [](const LayerPlan& layer) { return layer.block < 0; }))
      reporter.warn("lm_head shares its weight with the embedding and stays 16-bit; quant_lm_head is ignored");
    return;
  }
  const auto head = std::find_if(plan.layers.begin(), plan.layers.end(), is_head);
  if (head == plan.layers.end())
    reporter.warn("the model has no lm_head; quant_lm_head is ignored");
  else if (!any_layer(plan, [](const LayerPlan& layer) { return is_head(layer) && layer.quantized(); }) &&
           plan.global.quantized())
    reporter.warn(str("'", head->name, "' stays 16-bit (", head->reason, "); quant_lm_head is ignored"));
}

void check_weights(const SchemeOverrides& own, const QuantPlan& plan, const Registry& registry, Reporter& reporter) {
  Idle nothing, fixed;
  if (!any_layer(plan, [](const LayerPlan& layer) { return layer.quant.weight.quantized(); })) {
    nothing.add(own.group_size.has_value(), "group_size");
    nothing.add(own.sym.has_value(), own.sym.value_or(true) ? "sym" : "asym");
    nothing.add(own.scale_dtype.has_value(), "scale_dtype");
    nothing.add(own.scale_search.has_value(), "scale_search");
    nothing.warn("weights stay in 16 bits", reporter);
    return;
  }
  if (sdk::find_block_type(plan.global.weight.data_type)) {
    Idle ruled;
    ruled.add(own.bits.has_value(), "bits");
    ruled.add(own.group_size.has_value(), "group_size");
    ruled.add(own.sym.has_value(), own.sym.value_or(true) ? "sym" : "asym");
    ruled.warn("the preset of the file says bits and groups itself", reporter);
  }
  fixed.add(own.scale_dtype && !any_layer(plan, [&](const LayerPlan& l) { return stores_scale_dtype(l, registry); }),
            "scale_dtype");
  fixed.warn(str("the scales of '", plan.global.weight.data_type, "' have a type of their own"), reporter);
}

void check_untuned(TuningOptions tuning, bool transforms, Reporter& reporter) {
  if (transforms) tuning.enable_quanted_input = TuningOptions().enable_quanted_input;  // they look at inputs as well
  QuantizeOptions given;
  given.tuning = tuning;
  Idle idle;
  idle.add(changed_options(given, OptionNeeds::tuning));
  idle.warn("nothing is tuned (iters 0)", reporter);
}

// Options of samples, where none goes through the model: scripts give them with every scheme, so this is no warning.
void check_unsampled(const QuantizeOptions& given, bool mixed, Reporter& reporter) {
  const TuningOptions& t = given.tuning;
  TuningOptions bare = t;
  bare.nsamples.reset();
  bare.seqlen.reset();
  bare.batch_size.reset();
  const ResolvedTuning usual = resolve_tuning(given.recipe, bare);
  Idle idle;
  idle.add(!mixed && !given.dataset.empty(), "dataset");
  idle.add(t.nsamples && *t.nsamples != usual.nsamples, "nsamples");
  idle.add(t.seqlen && *t.seqlen != usual.seqlen, "seqlen");
  idle.add(t.batch_size && *t.batch_size != usual.batch_size, "batch_size");
  idle.add(!mixed && given.rotation.empty() && t.seed != TuningOptions().seed, "seed");
  idle.inform(given.imatrix.empty() ? "plain rounding needs no samples" : "with --imatrix no samples are needed",
              reporter);
}

// A chain of blocks is tuned as one; scales are chosen block by block from what reaches each of them.
void check_transforms(const QuantizeOptions& given, const PlannedModel& planned) {
  if (planned.transforms.empty() || given.tuning.nblocks.value_or(1) == 1) return;
  throw_usage(str("'", planned.transforms.front().name, "' of algs takes one block at a time, and nblocks is ",
                  *given.tuning.nblocks, "; leave one of them out"));
}

// Importance is that of inputs as the model has them.
void check_importance(const QuantizeOptions& given, const PlannedModel& planned) {
  if (given.imatrix.empty() && given.save_imatrix.empty()) return;
  if (planned.transforms.empty() && given.rotation.empty()) return;
  const std::string what = given.rotation.empty() ? str("'", planned.transforms.front().name, "' of algs scales them")
                                                  : std::string("--rotation turns them");
  throw_usage(str("--", given.imatrix.empty() ? "save_imatrix" : "imatrix",
                  " is about the inputs of layers as the model has them, and ", what, "; leave one of them out"));
}

}  // namespace

void check_options(const QuantizeOptions& options, Reporter& reporter) {
  check_device(options.device_map, reporter);
  check_ranges(options);
  check_mix(options.auto_scheme);
  check_attention(options.attention);
  check_model_free(options);
  check_recipe_file(options);
}

void check_effects(const QuantizeOptions& given, const ResolvedTuning& tuning, const PlannedModel& planned, bool mixed,
                   const Registry& registry, Reporter& reporter) {
  const QuantPlan& plan = planned.plan;
  if (!mixed && given.recipe_file.empty()) {
    refuse_empty_plan(plan);
    refuse_idle_activations(given.overrides,
                            any_layer(plan, [](const LayerPlan& layer) { return layer.quant.act.quantized(); }),
                            str("scheme '", plan.scheme_name, "'"));
    check_weights(given.overrides, plan, registry, reporter);
  }
  check_head(given, plan, reporter);
  check_transforms(given, planned);
  check_importance(given, planned);
  if (tuning.iters == 0) check_untuned(given.tuning, !planned.transforms.empty(), reporter);
  if (!planned.forwards) check_unsampled(given, mixed, reporter);
  Idle idle;
  if (tuning.iters == 0) {
    idle.add(!planned.forwards && tuning.disable_opt_rtn == false && given.imatrix.empty(),
             given.tuning.disable_opt_rtn ? "enable_opt_rtn" : "recipe opt-rtn");
    idle.warn("this scheme has nothing to search, weights are rounded plainly", reporter);
  } else if (given.tuning.disable_opt_rtn) {
    idle.add(!any_layer(plan, [](const LayerPlan& layer) { return is_head(layer) && layer.quantized(); }),
             *given.tuning.disable_opt_rtn ? "disable_opt_rtn" : "enable_opt_rtn");
    idle.warn("every layer is tuned", reporter);
  }
}

// A scheme that stores scales in a type of the user's choice counts their bits.
bool stores_scale_dtype(const LayerPlan& layer, const Registry& registry) {
  if (!layer.quant.weight.quantized()) return false;
  const Scheme& scheme = registry.scheme_for(layer.quant.weight.data_type);
  LayerPlan narrow = layer, wide = layer;
  narrow.quant.weight.scale_dtype = "float16";
  wide.quant.weight.scale_dtype = "float32";
  return scheme.bits_per_weight(narrow) != scheme.bits_per_weight(wide);
}

}  // namespace arkit
