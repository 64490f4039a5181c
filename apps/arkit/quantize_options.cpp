#include "quantize_options.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include <arkit/engine/resolved_options.h>
#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::cli {
namespace {

SchemeOverrides scheme_overrides(const Arguments& arguments) {
  SchemeOverrides scheme;
  if (const auto bits = arguments.number("bits"); bits && !arguments.given("options")) {
    if (*bits != std::floor(*bits) || std::fabs(*bits) > 1000)
      throw_usage(str("--bits: '", *arguments.text("bits"), "' is not a whole number; budgets go with --options"));
    scheme.bits = static_cast<int>(*bits);
  }
  scheme.act_bits = arguments.small_integer("act_bits");
  scheme.group_size = arguments.integer("group_size");
  scheme.act_group_size = arguments.integer("act_group_size");
  scheme.sym = arguments.either("sym", "asym");
  scheme.act_sym = arguments.either("act_sym", "act_asym");
  scheme.act_dynamic = arguments.either("act_dynamic", "disable_act_dynamic");
  scheme.data_type = arguments.text("data_type");
  scheme.act_data_type = arguments.text("act_data_type");
  scheme.scale_dtype = arguments.text("scale_dtype");
  if (scheme.scale_dtype == "fp16") scheme.scale_dtype = "float16";
  if (scheme.scale_dtype == "bf16") scheme.scale_dtype = "bfloat16";
  if (scheme.scale_dtype == "fp32") scheme.scale_dtype = "float32";
  return scheme;
}

TuningOptions tuning_options(const Arguments& arguments) {
  TuningOptions tuning;
  tuning.iters = arguments.integer("iters");
  tuning.lr = arguments.number("lr");
  tuning.minmax_lr = arguments.number("minmax_lr");
  tuning.nsamples = arguments.integer("nsamples");
  tuning.seqlen = arguments.integer("seqlen");
  tuning.batch_size = arguments.integer("batch_size");
  set_if(tuning.momentum, arguments.number("momentum"));
  set_if(tuning.gradient_accumulate_steps, arguments.integer("gradient_accumulate_steps"));
  set_if(tuning.nblocks, arguments.integer("nblocks"));
  set_if(tuning.dynamic_max_gap, arguments.integer("dynamic_max_gap"));
  set_if(tuning.enable_minmax_tuning, arguments.either("enable_minmax_tuning", "disable_minmax_tuning"));
  set_if(tuning.enable_quanted_input, arguments.either("enable_quanted_input", "disable_quanted_input"));
  tuning.enable_norm_bias_tuning = arguments.flag("enable_norm_bias_tuning");
  tuning.not_use_best_mse = arguments.either("not_use_best_mse", "use_best_mse");
  tuning.enable_alg_ext = arguments.either("enable_alg_ext", "disable_alg_ext");
  tuning.enable_adam = arguments.flag("enable_adam");
  tuning.enable_neuqi = arguments.flag("enable_neuqi");
  tuning.disable_opt_rtn = arguments.either("disable_opt_rtn", "enable_opt_rtn");
  tuning.enable_deterministic_algorithms = arguments.flag("enable_deterministic_algorithms");
  set_if(tuning.seed, arguments.integer("seed"));
  set_if(tuning.amp_dtype, arguments.text("amp_dtype"));
  return tuning;
}

double budget(const std::string& text) {
  double value = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || rest != text.data() + text.size())
    throw_usage(str("--avg_bits: '", printable(text), "' is not a number of bits, such as 4.5"));
  return value;
}

// A group is what one --shared_layers lists.
AutoSchemeOptions auto_scheme_options(const Arguments& arguments) {
  AutoSchemeOptions mix;
  mix.options = arguments.texts("options");
  for (const std::string& text : arguments.texts("avg_bits")) mix.avg_bits.push_back(budget(text));
  mix.target_size = arguments.bytes("target_size");
  // AutoRound's short form: --schemes A,B --bits 4.5
  if (const auto bits = arguments.number("bits"); bits && !mix.options.empty()) {
    if (!mix.avg_bits.empty() || mix.target_size)
      throw_usage("--bits is a budget here, and another one is given; leave it out");
    mix.avg_bits = {*bits};
  }
  set_if(mix.bits_accounting, arguments.text("bits_accounting"));
  mix.ignore_scale_zp_bits = arguments.flag("ignore_scale_zp_bits");
  if (mix.ignore_scale_zp_bits && arguments.text("bits_accounting") == "exact")
    throw_usage("--ignore_scale_zp_bits is AutoRound's accounting, and --bits_accounting is exact; leave one out");
  if (mix.ignore_scale_zp_bits) mix.bits_accounting = "autoround";
  set_if(mix.score, arguments.text("score"));
  for (const std::string& group : arguments.texts("shared_layers")) mix.shared_layers.push_back(split(group, ','));
  mix.share_fused_layers = !arguments.flag("no_share_fused");
  mix.nsamples = arguments.integer("score_nsamples");
  mix.seqlen = arguments.integer("score_seqlen");
  mix.batch_size = arguments.integer("score_batch_size");
  set_if(mix.refine_seconds, arguments.number("refine_seconds"));
  set_if(mix.cache_dir, arguments.text("score_cache"));
  mix.use_cache = !arguments.flag("no_score_cache");
  set_if(mix.svg, arguments.text("svg"));
  set_if(mix.save_layer_config, arguments.text("save_layer_config"));
  if (!mix.options.empty() && lower(arguments.text("scheme").value_or("W4A16")) != "w4a16")
    throw_usage("--scheme and --options contradict each other; list the scheme among the options");
  return mix;
}

// AutoRound's names of tuning are taken as well; it stands at the end.
std::string algs_of(const Arguments& arguments) {
  std::string algs = arguments.text("algs").value_or("");
  for (const std::string_view name : {"auto_round", "autoround", "sign_round"}) {
    const size_t at = algs.size() - std::min(name.size(), algs.size());
    const bool whole = at == 0 || algs[at - 1] == ',' || algs[at - 1] == ' ';
    if (whole && lower(algs.substr(at)) == name) algs.replace(at, name.size(), "signround");
  }
  return algs;
}

}  // namespace

QuantizeOptions quantize_options(const Arguments& arguments) {
  QuantizeOptions options;
  options.model = arguments.positional(0);
  set_if(options.scheme, arguments.text("scheme"));
  options.overrides = scheme_overrides(arguments);
  set_if(options.recipe_file, arguments.text("recipe_file"));
  if (arguments.given("format"))
    options.formats = arguments.texts("format");
  else if (!options.recipe_file.empty())
    options.formats.clear();  // those that record a recipe
  set_if(options.output_dir, arguments.text("output_dir"));
  set_if(options.runtime, arguments.text("runtime"));
  set_if(options.recipe, arguments.text("recipe"));
  options.tuning = tuning_options(arguments);
  set_if(options.dataset, arguments.text("dataset"));
  set_if(options.layer_config, arguments.text("layer_config"));
  options.ignore_layers = arguments.texts("ignore_layers");
  options.quant_lm_head = arguments.flag("quant_lm_head");
  options.to_quant_block_names = arguments.texts("to_quant_block_names");
  options.auto_scheme = auto_scheme_options(arguments);
  set_if(options.rotation, arguments.text("rotation"));
  options.algs = algs_of(arguments);
  set_if(options.attention.kv_dtype, arguments.text("static_kv_dtype"));
  set_if(options.attention.kv_granularity, arguments.text("static_kv_granularity"));
  set_if(options.attention.attention_dtype, arguments.text("static_attention_dtype"));
  set_if(options.attention.attention_granularity, arguments.text("static_attention_granularity"));
  options.model_free = arguments.either("model_free", "disable_model_free");
  options.num_hidden_layers = arguments.integer("num_hidden_layers");
  set_if(options.on_indivisible, arguments.text("on_indivisible"));
  set_if(options.max_shard_bytes, arguments.bytes("max_shard_size"));
  set_if(options.device_map, arguments.text("device_map"));
  options.dry_run = arguments.flag("dry_run");
  options.force = arguments.flag("force");
  options.allow_unmatched = arguments.flag("allow_unmatched");
  options.command_line = arguments.parsed().command_line;
  return options;
}

QuantizeOptions autoscheme_options(const Arguments& arguments) {
  QuantizeOptions options = quantize_options(arguments);
  AutoSchemeOptions& mix = options.auto_scheme;
  const auto move = [](const char* name, std::optional<int64_t>& tuning, std::optional<int64_t>& scoring) {
    if (tuning && scoring && tuning != scoring)
      throw_usage(str("--", name, " ", *tuning, " and --score_", name, " ", *scoring,
                      " are the same option of autoscheme, which tunes nothing; give one"));
    if (tuning) scoring = tuning;
    tuning.reset();
  };
  move("nsamples", options.tuning.nsamples, mix.nsamples);
  move("seqlen", options.tuning.seqlen, mix.seqlen);
  move("batch_size", options.tuning.batch_size, mix.batch_size);
  return options;
}

json::Object resolved_autoscheme(const QuantizeOptions& options, const Registry& registry) {
  json::Object resolved = resolved_options(options, registry);
  for (const char* tuning : {"nsamples", "seqlen", "batch_size"}) resolved.erase(tuning);
  return resolved;
}

}  // namespace arkit::cli
