// `arkit quantize`, one function per step, in order: the table of contents of the product.
#include <chrono>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/inference_backend.h>
#include <arkit/scheme.h>
#include <arkit/str.h>

#include "jobs/memory_estimate.h"
#include "jobs/quantize_run.h"
#include "jobs/truncated_source.h"
#include "quant/plan.h"

namespace arkit {
namespace fs = std::filesystem;

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::unique_ptr<ModelSource> open_model_source(const QuantizeOptions& options, const Registry& registry) {
  std::unique_ptr<ModelSource> source = open_source(options.model, registry);
  if (!source->packed_layers().empty())
    throw_unsupported(
        str("'", options.model, "' is already quantized (", source->kind(), "); quantize the model it was made from"));
  return options.num_hidden_layers ? truncate_blocks(std::move(source), *options.num_hidden_layers) : std::move(source);
}

// SignRound when there are iterations; else OPT-RTN where its search has anything to gain (algorithms.md 3.1).
Method choose_method(const ResolvedTuning& tuning, const LayerQuant& quant, const Registry& registry) {
  if (tuning.iters > 0) return Method::sign_round;
  const bool eight_bit_int = quant.weight.data_type == "int" && quant.weight.bits >= 8 && quant.act.bits >= 8;
  if (tuning.disable_opt_rtn.value_or(eight_bit_int)) return Method::rtn;
  return registry.scheme_for(quant.weight.data_type).searches(quant.weight) ? Method::opt_rtn : Method::rtn;
}

std::string_view method_name(Method method) {
  switch (method) {
    case Method::rtn:
      return "RTN";
    case Method::opt_rtn:
      return "OPT-RTN";
    case Method::sign_round:
      return "SignRound";
  }
  return "?";
}

// Weights are cast to bf16 as in the reference, so that an export's bytes do not depend on the machine; block forwards
// need f32 where the CPU cannot multiply bf16, and then the weights stay as they are (algorithms.md 1.1).
at::ScalarType choose_dtype(const TuningOptions& options, Method method) {
  if (options.amp_dtype == "bfloat16") return at::kBFloat16;
  if (options.amp_dtype == "float32") return at::kFloat;
  if (options.amp_dtype != "auto")
    throw_usage(str("amp_dtype '", options.amp_dtype, "' is unknown; expected auto, bfloat16 or float32"));
  const HostInfo& host = host_info();
  return method == Method::rtn || host.avx512_bf16 || host.amx_bf16 ? at::kBFloat16 : at::kFloat;
}

void check_device(const std::string& device_map) {
  if (device_map != "cpu" && device_map != "auto")
    throw_unsupported(str("device_map '", device_map,
                          "' is not available: quantization runs on the CPU in this version; use --device_map cpu"));
}

fs::path choose_output_dir(const QuantizeOptions& options, const QuantPlan& plan, const ModelSource& source) {
  if (!options.output_dir.empty()) return fs::absolute(options.output_dir).lexically_normal();
  fs::path name = source.path().filename().empty() ? source.path().parent_path().filename() : source.path().stem();
  return fs::absolute(name.string() + "-" + plan.scheme_name);
}

RunRecord run_settings(const QuantizeOptions& options, const ResolvedTuning& tuning, const QuantPlan& plan,
                       Method method) {
  RunRecord run;
  run.iters = tuning.iters;
  run.nsamples = tuning.nsamples;
  run.seqlen = tuning.seqlen;
  run.batch_size = tuning.batch_size;
  run.gradient_accumulate_steps = tuning.options.gradient_accumulate_steps;
  run.seed = tuning.options.seed;
  run.lr = tuning.lr;
  run.minmax_lr = tuning.minmax_lr;
  run.enable_minmax_tuning = tuning.options.enable_minmax_tuning;
  run.enable_quanted_input = method == Method::sign_round && tuning.options.enable_quanted_input;
  run.enable_norm_bias_tuning = tuning.options.enable_norm_bias_tuning;
  run.scale_dtype = plan.global.weight.scale_dtype;
  run.dataset = options.dataset;
  return run;
}

json::Object dry_run_report(const QuantizeOptions& options, const ResolvedTuning& tuning, const QuantPlan& plan,
                            const std::vector<FormatChoice>& formats, const ModelSource& source, const Model& model,
                            Method method, at::ScalarType dtype) {
  json::Object report = describe_plan(plan);
  report["method"] = std::string(method_name(method));
  report["options"] = resolved_options(options, tuning);
  json::Array outputs;
  for (const FormatChoice& format : formats)
    outputs.push_back(json::Object{{"format", format.name},
                                   {"output_dir", format.output_dir.string()},
                                   {"bytes", planned_bytes(format, plan, source.weights())}});
  report["outputs"] = std::move(outputs);
  report["peak_memory_estimate_bytes"] = estimate_peak_bytes(plan, tuning, model, method, dtype);
  report["dry_run"] = true;
  return report;
}

void round_blocks(QuantizeRun& run) {
  for (int64_t block = 0; block < run.plan.num_blocks; ++block) {
    throw_if_interrupted();
    const auto start = Clock::now();
    run.model.load_block(block);
    for (const Linear* layer : run.model.block_linears(block)) {
      const LayerPlan* plan = run.plan.find(layer->name);
      ARKIT_CHECK(plan != nullptr, str("layer '", layer->name, "' is not in the plan"));
      if (plan->quantized()) round_layer(run, *plan, *layer);
    }
    write_untouched(run, run.model.block_name(block) + ".");
    run.model.release_block(block);
    run.reporter.block_done({.block = block, .num_blocks = run.plan.num_blocks, .seconds = seconds_since(start)});
  }
}

void round_outside_blocks(QuantizeRun& run) {
  for (const LayerPlan& layer : run.plan.layers) {
    if (layer.block >= 0 || !layer.quantized()) continue;
    run.model.load_rest();
    ARKIT_CHECK(run.model.head().name == layer.name, str("layer '", layer.name, "' outside blocks is not the head"));
    round_layer(run, layer, run.model.head());
    run.model.release_rest();
  }
}

std::vector<ExportReport> finish_exports(QuantizeRun& run) {
  std::vector<ExportReport> reports = run.exports.finish();
  run.outcome.peak_rss_bytes = peak_rss_bytes();
  for (size_t i = 0; i < reports.size(); ++i) {
    const FormatChoice& format = run.exports.formats()[i];
    write_text_file(format.output_dir / "README.md",
                    model_card(run.options, run.plan, run.source, run.outcome, reports[i], format.name));
    const json::Object record =
        run_record(run.options, run.tuning, run.plan, run.source, run.registry, run.outcome, reports[i], format.name);
    write_text_file(format.output_dir / "arkit-run.json", json::dump(record, 2) + "\n");
  }
  return reports;
}

json::Object summary(const QuantizeRun& run, const std::vector<ExportReport>& reports) {
  json::Array outputs;
  for (size_t i = 0; i < reports.size(); ++i)
    outputs.push_back(json::Object{{"format", run.exports.formats()[i].name},
                                   {"output_dir", run.exports.formats()[i].output_dir.string()},
                                   {"bytes", reports[i].bytes},
                                   {"bits_per_weight", reports[i].bits_per_weight},
                                   {"files", reports[i].files.size()}});
  return {{"method", run.outcome.method},
          {"scheme", run.plan.scheme_name},
          {"quantized_layers", quantized_count(run.plan)},
          {"outputs", std::move(outputs)},
          {"seconds", run.outcome.seconds},
          {"peak_rss_bytes", run.outcome.peak_rss_bytes}};
}

}  // namespace

json::Object quantize(const QuantizeOptions& options, const Registry& registry, Reporter& reporter) {
  const auto start = Clock::now();
  check_device(options.device_map);
  const ResolvedTuning tuning = resolve_tuning(options.recipe, options.tuning);
  const ResolvedScheme scheme = resolve_preset(options.scheme, registry);

  reporter.step("reading the model");
  const std::unique_ptr<ModelSource> source = open_model_source(options, registry);
  const ModelAdapter& adapter = adapter_for(*source, registry);
  const Method method =
      choose_method(tuning, apply_overrides(scheme.quant, options.overrides, registry, "scheme"), registry);
  const at::ScalarType dtype = choose_dtype(tuning.options, method);
  const std::unique_ptr<Model> model = adapter.open(*source, dtype);

  const std::string model_type = json::get_string(source->config(), "model_type", "config.json").value_or("");
  const QuantPlan plan = build_plan(*model, model_type, scheme, options, registry, reporter);
  const fs::path output_dir = choose_output_dir(options, plan, *source);
  const std::vector<FormatChoice> formats = choose_formats(options.formats, plan, output_dir, registry);
  if (options.dry_run) return dry_run_report(options, tuning, plan, formats, *source, *model, method, dtype);
  prepare_output(formats, plan, source->weights(), options.force);

  RunOutcome outcome{.method = std::string(method_name(method))};
  const ExportRequest request{.output_dir = output_dir,
                              .source = *source,
                              .plan = plan,
                              .run = run_settings(options, tuning, plan, method),
                              .model_dtype = dtype,
                              .max_shard_bytes = options.max_shard_bytes};
  ExportSet exports(formats, request);
  QuantizeRun run{options, tuning, registry, reporter, *source, *model, plan, exports, outcome, dtype};

  reporter.step(str("quantizing ", quantized_count(plan), " layers: ", plan.scheme_name, " (", describe(plan.global),
                    "), ", outcome.method));
  round_blocks(run);
  round_outside_blocks(run);
  write_untouched(run, "");
  outcome.seconds = seconds_since(start);
  return summary(run, finish_exports(run));
}

}  // namespace arkit
