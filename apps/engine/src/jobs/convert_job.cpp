// `arkit convert`: the layers of an export, as they are, in another format. Everything is tried in memory before the
// first byte is written, and everything written is opened and unpacked again afterwards.

#include <algorithm>
#include <chrono>

#include <ATen/ATen.h>

#include <arkit/engine/reported_jobs.h>
#include <arkit/error.h>
#include <arkit/escape.h>
#include <arkit/exporter.h>
#include <arkit/part_file.h>
#include <arkit/scheme.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/str.h>

#include "convert/export_plan.h"
#include "convert/layer_trial.h"
#include "convert/proof.h"
#include "jobs/conversion_record.h"
#include "jobs/export_set.h"
#include "jobs/hub_origin.h"
#include "jobs/plain_conversion.h"
#include "jobs/plan_refinement.h"
#include "jobs/run_record.h"
#include "jobs/source_hashes.h"
#include "jobs/source_labels.h"
#include "jobs/source_state.h"
#include "model_free/checkpoint_source.h"
#include "model_free/completeness.h"
#include "output/output_folder.h"
#include "quant/plan.h"
#include "quant/scheme_resolver.h"
#include "source/canonical_source.h"
#include "util/heap.h"
#include "util/seconds.h"
#include "verify/layer_check.h"

namespace arkit {
namespace fs = std::filesystem;

namespace {

using Clock = std::chrono::steady_clock;

struct ConvertRun {
  const ConvertOptions& options;
  const Registry& registry;
  Reporter& reporter;
  const ModelSource& source;
  const ModelSource& shown;  // the source with every packed layer as a plain weight
  const QuantPlan& plan;
  const std::vector<FormatChoice>& formats;
};

struct Written {
  std::vector<ExportReport> reports;
  std::vector<fs::path> folders;  // until the run is complete
};

LayerRecord record_of(const ConvertRun& run, const LayerPlan& layer, const QuantizedWeight& weight) {
  LayerRecord record{.plan = layer, .quantized = weight};
  if (layer.has_bias) record.bias = run.source.weights().load(layer.name + ".bias");
  record.act_max = weight.act_max;
  return record;
}

std::vector<FormatChoice> all_formats(const Registry& registry) {
  std::vector<FormatChoice> formats;
  for (const std::string& name : registry.names(Kind::exporter)) {
    Exporter& exporter = registry.exporter(name);
    formats.push_back({&exporter, name, {}});
    for (const std::string_view variant : exporter.variants()) formats.push_back({&exporter, std::string(variant), {}});
  }
  return formats;
}

// For suggestions: a format that stumbles over the layer is none.
bool holds(const FormatChoice& format, const LayerRecord& record, const QuantPlan& plan) {
  try {
    return LayerTrial(plan, false).why_not(*format.exporter, format.name, record).empty() &&
           format.exporter->supports_plan(plan, format.name);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::interrupted) throw;
    return false;
  }
}

// ", formats that can hold it as it is: ..." for the end of a refusal.
std::string alternatives(const ConvertRun& run, const LayerRecord& record) {
  std::vector<std::string> names;
  for (const FormatChoice& format : all_formats(run.registry)) {
    QuantPlan one = run.plan;  // plan-wide rules are not this layer's fault
    one.layers = {record.plan};
    one.global = record.plan.quant;
    if (holds(format, record, one)) names.push_back(format.name);
  }
  if (names.empty()) return "; no other format can hold it either";
  return str("; formats that hold it as it is: ", quoted_list(names));
}

void check_plan(const ConvertRun& run, const FormatChoice& format) {
  if (run.plan.attention.quantized() && !format.exporter->info().attention_scales)
    throw_unsupported(str("'", run.options.model, "': ", no_attention_scales(format.name, run.registry)));
  const Verdict verdict = format.exporter->supports_plan(run.plan, format.name);
  if (verdict) return;
  std::vector<std::string> names;
  for (const FormatChoice& other : all_formats(run.registry)) {
    const auto takes = [&](const LayerPlan& layer) {
      return !layer.quantized() || other.exporter->supports(layer, other.name);
    };
    if (!other.exporter->info().wants_dequantized &&
        std::all_of(run.plan.layers.begin(), run.plan.layers.end(), takes) &&
        other.exporter->supports_plan(run.plan, other.name))
      names.push_back(other.name);
  }
  throw_unsupported(str("format '", format.name, "' cannot hold '", run.options.model, "' (", run.plan.scheme_name,
                        "): ", verdict.why_not, "; formats that may: ", names.empty() ? "none" : quoted_list(names)));
}

// Calls use(record) for each quantized layer; one is in memory at a time. `what` is shown.
template <typename Use>
void for_each_layer(const ConvertRun& run, std::string_view what, const Use& use) {
  int64_t done = 0;
  const int64_t total = quantized_count(run.plan);
  for (const LayerPlan& layer : run.plan.layers) {
    if (!layer.quantized()) continue;
    throw_if_interrupted();
    const QuantizedWeight weight = planned_weight(run.source, layer);
    use(record_of(run, layer, weight));
    release_layer(run.source, layer.name);
    run.reporter.progress({what, ++done, total, "layers"});
  }
}

// Formats may change plans; codes that exist follow no other plan.
void refuse_changes(const ConvertRun& run) {
  QuantPlan changed = run.plan;
  const std::vector<RefinedLayer> refined = refine_plan(
      changed, {.formats = run.formats, .source = run.shown, .registry = run.registry, .on_indivisible = {}});
  if (refined.empty()) return;
  const RefinedLayer& first = refined.front();
  throw_unsupported(str("format '", first.format, "' makes layer '", printable(first.layer), "' ",
                        describe(first.after), first.reason.empty() ? "" : str(" (", first.reason, ")"), ", and '",
                        run.options.model, "' has it as ", describe(first.before),
                        ", which convert does not change; 'arkit quantize' writes this format from the model itself"));
}

// Every layer through every format's packer and back, in memory.
void check_layers(const ConvertRun& run) {
  refuse_changes(run);
  for (const FormatChoice& format : run.formats) check_plan(run, format);
  check_source(run.formats, run.plan, run.shown);
  const LayerTrial trial(run.plan, run.options.allow_rounding);
  for_each_layer(run, "trying layers", [&](const LayerRecord& record) {
    for (const FormatChoice& format : run.formats) {
      const std::string reason = trial.why_not(*format.exporter, format.name, record);
      if (!reason.empty())
        throw_unsupported(str("format '", format.name, "' cannot hold layer '", printable(record.plan.name), "' (",
                              describe(record.plan.quant), " as ", printable(run.source.kind()), "): ", reason,
                              alternatives(run, record)));
    }
  });
}

ExportRequest export_request(const ConvertRun& run) {
  return {.output_dir = run.formats.front().output_dir,
          .source = run.shown,
          .plan = run.plan,
          .run = recorded_run(run.source),
          .model_dtype = model_dtype_of(run.shown),
          .max_shard_bytes = run.options.max_shard_bytes};
}

Written write_layers(const ConvertRun& run, const output::OutputFolder& output) {
  ExportSet exports(run.formats, export_request(run), output);
  for_each_layer(run, "writing layers", [&](const LayerRecord& record) { exports.add_layer(record); });
  for (const AttentionSpec& module : sdk::attention_modules(run.source))
    for (const std::string& name : module.tensors) exports.add_plain(name, run.source.weights().load(name), true);
  Written written{.reports = exports.finish(run.reporter), .folders = {}};  // all other tensors are copied there
  for (size_t i = 0; i < run.formats.size(); ++i) written.folders.push_back(exports.staged(i));
  return written;
}

json::Object dry_run_report(const ConvertRun& run) {
  json::Object report{{"source", run.source.kind()}, {"plan", describe_plan(run.plan)}};
  const ExportRequest request = export_request(run);
  json::Array outputs;
  for (const FormatChoice& format : run.formats)
    outputs.push_back(json::Object{{"format", format.name},
                                   {"output_dir", format.output_dir.string()},
                                   {"bytes", foretold_bytes(format, request)}});
  report["outputs"] = std::move(outputs);
  report["dry_run"] = true;
  return report;
}

}  // namespace

json::Object convert(const ConvertOptions& options, const Registry& registry, Reporter& reporter) {
  const auto start = Clock::now();
  return_large_blocks();
  reporter.step("reading the export");
  const std::unique_ptr<ModelSource> source = open_plain_source(options.model, registry, reporter);
  warn_of_denied_biases(*source, reporter);
  if (source->rotations() != nullptr)
    throw_unsupported(str("'", options.model,
                          "' is rotated at run time, which convert does not carry over; 'arkit quantize' writes the ",
                          "other format from the model itself"));
  model_free::require_complete(*source, registry);
  if (sdk::packed_layers(*source).empty()) {
    judge_source_texts(*source, reporter);
    say_what_stays(*source, reporter);
    return convert_plain(options, *source, registry, reporter);
  }
  if (options.dtype != "auto")
    throw_usage(str("--dtype is for models of which nothing is packed; the layers of '", options.model, "' (",
                    source->kind(), ") stay as they are"));
  const std::vector<fs::path> weights = weight_files(*source, std::nullopt);
  const SourceState state(*source, weights);
  const std::unique_ptr<ModelSource> shown = model_free::view_checkpoint(
      *source, registry, {.cut_experts = false, .dtype = at::kBFloat16, .attention_scales = false});
  judge_source_texts(*shown, reporter);
  say_what_stays(*source, reporter);
  (void)recorded_run(*source);  // what its record says of the run is read before any work, too
  const QuantPlan plan = plan_of_export(*source, *shown, survey_layers(*source, registry, reporter), registry);
  const fs::path output_dir = conversion_folder(options, *source);
  const std::vector<FormatChoice> formats = find_formats(options.formats, false, output_dir, registry);
  const ConvertRun run{options, registry, reporter, *source, *shown, plan, formats};

  reporter.step(str("trying ", quantized_count(plan), " layers of ", source->kind(), " (", plan.scheme_name, ")"));
  check_layers(run);
  if (options.dry_run) return dry_run_report(run);
  const auto output = prepare_output(output_dir, formats, plan, *shown, options.force, reporter);
  SourceHashes hashes(weights);
  hashes.start();

  reporter.step("writing");
  auto [reports, folders] = write_layers(run, *output);
  reporter.step("reopening and comparing");
  json::Array outputs;
  std::vector<json::Object> proofs;
  for (size_t i = 0; i < formats.size(); ++i)
    proofs.push_back(prove_equal(*source, *shown, folders[i], plan, options.allow_rounding, registry, reporter));
  const json::Array files = hashes.wait(reporter);
  require_listed(options.model, files);
  const double seconds = seconds_since(start);
  const int64_t peak = peak_rss_bytes();
  for (size_t i = 0; i < formats.size(); ++i) {
    const Conversion done{options, *source, plan, formats[i].name, reports[i], files, proofs[i], seconds, peak};
    write_file(folders[i] / "README.md", conversion_card(done));
    write_file(folders[i] / "arkit-run.json", escape_json(json::dump(conversion_record(done, registry), 2)) + "\n");
    for (const char* own : {"README.md", "arkit-run.json"}) count_file(reports[i], folders[i], own);
    outputs.push_back(json::Object{{"format", formats[i].name},
                                   {"output_dir", formats[i].output_dir.string()},
                                   {"bytes", reports[i].bytes},
                                   {"bits_per_weight", reports[i].bits_per_weight},
                                   {"files", reports[i].files.size()},
                                   {"proof", proofs[i].at("verdict")}});
  }
  throw_if_interrupted();
  state.require_unchanged();
  output->commit();
  json::Array details(proofs.begin(), proofs.end());
  return {{"source", source->kind()},      {"scheme", plan.scheme_name},   {"converted_layers", quantized_count(plan)},
          {"outputs", std::move(outputs)}, {"proofs", std::move(details)}, {"seconds", seconds},
          {"peak_rss_bytes", peak}};
}

}  // namespace arkit
