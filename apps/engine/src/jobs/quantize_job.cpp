// `arkit quantize`, one function per step, in order: the table of contents of the product.
#include <algorithm>
#include <chrono>
#include <optional>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/escape.h>
#include <arkit/inference_backend.h>
#include <arkit/part_file.h>
#include <arkit/scheme.h>
#include <arkit/str.h>

#include "jobs/calibrate.h"
#include "jobs/hub_origin.h"
#include "jobs/low_disk.h"
#include "jobs/mix_decision.h"
#include "jobs/option_effects.h"
#include "jobs/planned_model.h"
#include "jobs/quantize_plan.h"
#include "jobs/quantize_run.h"
#include "jobs/run_inputs.h"
#include "jobs/source_hashes.h"
#include "output/output_folder.h"
#include "quant/free_formats.h"
#include "quant/plan.h"
#include "transform/checkpoint_transform.h"
#include "util/deterministic_scope.h"
#include "util/finite.h"
#include "util/heap.h"
#include "util/seconds.h"

namespace arkit {
namespace fs = std::filesystem;

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kFewThreads = 4;

ProcessOptions process_options(const ResolvedTuning& tuning, bool transforms) {
  ProcessOptions options;
  options.tune = tune_options(tuning);
  options.enable_quanted_input = sees_quantized(tuning, transforms);
  options.disable_opt_rtn = tuning.disable_opt_rtn;
  return options;
}

void write_results(QuantizeRun& run, const std::vector<Linear*>& linears, const BlockResult& result) {
  for (const QuantizedLayer& layer : result.layers) {
    if (run.gathered != nullptr) run.gathered->add(layer.plan->name, layer.imatrix, layer.imatrix_tokens);
    const auto found =
        std::find_if(linears.begin(), linears.end(), [&](const Linear* l) { return l->name == layer.plan->name; });
    ARKIT_CHECK(found != linears.end(), str("layer '", layer.plan->name, "' is not in the block that gave it"));
    write_layer(run, **found, layer);
  }
  for (const auto& [name, weight] : result.norms) {
    run.exports.add_plain(name, weight.to(run.model_dtype), true);
    run.written.insert(name);
  }
  for (const auto& [name, tensor] : result.plain) {
    run.exports.add_plain(name, tensor.to(run.source.weights().find(name)->dtype), true);
    run.written.insert(name);
  }
  for (const AttentionRanges& ranges : result.attention) run.exports.add_attention(ranges);
}

// Block by block: quantize (and tune), write what is done, let go of it. Blocks of one chain (nblocks) go together.
void quantize_blocks(QuantizeRun& run, BlockProcessor& processor, BlockIo& io) {
  const int64_t total = run.plan.num_blocks;
  const bool head_follows = std::any_of(run.plan.layers.begin(), run.plan.layers.end(),
                                        [](const LayerPlan& layer) { return is_head(layer) && layer.quantized(); });
  for (int64_t first = 0; first < total; first += run.tuning.nblocks) {
    throw_if_interrupted();
    const int64_t count = std::min(run.tuning.nblocks, total - first);
    std::vector<Linear*> linears;
    for (int64_t block = first; block < first + count; ++block) {
      run.model.load_block(block);
      check_applied(run.source, run.model.block_linears(block));
      for (Linear* layer : run.model.block_linears(block)) {
        io::check_finite(layer->weight, layer->name + ".weight");
        linears.push_back(layer);
      }
    }
    const BlockResult result = processor.process(first, count, io, head_follows || first + count < total);
    write_results(run, linears, result);
    for (int64_t block = first; block < first + count; ++block) {
      write_untouched(run, run.model.block_name(block) + ".");
      run.model.release_block(block);
    }
    const double before = result.losses.empty() ? -1.0 : result.losses.front();
    run.outcome.blocks.push_back({first, before, result.best_loss, result.best_iter, result.seconds});
    run.reporter.block_done({first + count - 1, total, result.seconds, before, result.best_loss, result.best_iter,
                             result.tokens_per_second});
    run.reporter.progress({"quantizing", first + count, total, "blocks"});
  }
  if (!head_follows) return;
  run.model.load_rest();
  io::check_finite(run.model.head().weight, run.model.head().name + ".weight");
  write_results(run, {&run.model.head()}, processor.process_head(io));
  run.model.release_rest();
}

void quantize_with_samples(QuantizeRun& run, const Calibration& calibration,
                           const std::vector<PlannedTransform>& transforms) {
  // On few cores a hash beside tuning would take the time of a core that parallel loops wait for.
  if (host_info().threads > kFewThreads) run.hashes.start();
  PythonRandom random(static_cast<uint64_t>(run.tuning.options.seed));
  ProcessOptions process = process_options(run.tuning, !transforms.empty());
  process.loss_mask = calibration.loss_mask;
  process.want_imatrix = run.exports.wants(&ExporterInfo::wants_imatrix) || run.gathered != nullptr;
  process.importance = importance_of(run.importance);
  const SchemeFor scheme_for = schemes_of(run.registry);
  BlockFolds folds(transforms, run.source.weights(), run.plan, scheme_for, run.model_dtype, run.tuning.batch_size);
  if (!transforms.empty()) process.folds = &folds;
  BlockProcessor processor(run.model, run.plan, scheme_for, std::move(process), run.reporter, random);
  BlockIo io{.full = calibration.hidden};
  quantize_blocks(run, processor, io);
  write_untouched(run, "");
  for (const TransformRecord& record : folds.records()) run.outcome.transforms.push_back(to_json(record));
}

// Everything that can fail is done before the folder changes.
std::vector<ExportReport> finish_exports(QuantizeRun& run, const RunInputs& inputs) {
  run.reporter.step("writing what is left to the disk");
  run.hashes.start();  // at the latest: while the disk is waited for
  std::vector<ExportReport> reports = run.exports.finish(run.reporter);
  const json::Array hashed = run.hashes.wait(run.reporter);
  require_listed(run.options.model, hashed);
  run.outcome.source_files = with_shards(hashed, run.low_disk);
  run.outcome.peak_rss_bytes = peak_rss_bytes();
  for (size_t i = 0; i < reports.size(); ++i) {
    const FormatChoice& format = run.exports.formats()[i];
    write_file(run.exports.staged(i) / "README.md",
               model_card(run.options, run.plan, run.source, run.outcome, reports[i], format.name));
    json::Object record =
        run_record(run.options, run.tuning, run.plan, run.source, run.registry, run.outcome, reports[i], format.name);
    inputs.add_to(record);
    write_file(run.exports.staged(i) / "arkit-run.json", escape_json(json::dump(record, 2)) + "\n");
    for (const char* own : {"README.md", "arkit-run.json"}) count_file(reports[i], run.exports.staged(i), own);
  }
  return reports;
}

// What --target-size promised, looked at once more: the files of the first format, and the run's own beside them unless
// the format's are the whole model (FreeMix::file_bytes).
void check_target(const QuantizeRun& run) {
  const std::optional<int64_t> target = run.options.auto_scheme.target_size;
  if (!target) return;
  const bool whole = free_mix_of(*run.exports.formats().front().exporter) != nullptr;
  int64_t bytes = 0;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(run.exports.staged(0))) {
    const std::string name = entry.path().filename().string();
    if (!entry.is_regular_file() || (whole && (name == "README.md" || name == "arkit-run.json"))) continue;
    bytes += static_cast<int64_t>(entry.file_size());
  }
  if (bytes > *target)
    run.reporter.warn(
        str("the files of the export take ", bytes, " bytes, ", bytes - *target, " more than target_size"));
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

json::Object quantize(const QuantizeOptions& given, const Registry& registry, Reporter& reporter) {
  const auto start = Clock::now();
  check_options(given, reporter);
  check_low_disk(given);
  const DeterministicScope deterministic(given.tuning.enable_deterministic_algorithms);
  const QuantizeWish wish = read_wish(given, registry, reporter);
  if (json::Object report = decide_before_download(wish, registry, reporter); !report.empty()) return report;
  std::optional<MixDecision> mix = decide_mix(wish.options, registry, reporter);

  reporter.step("reading the model");
  const QuantizePlan decided = decide(wish, wish.options.model, mix ? &*mix : nullptr, registry, reporter);
  const auto& [planned, tuning, stored, dtype, output_dir, formats] = decided;
  const std::unique_ptr<ModelSource>& source = planned.source;
  const QuantPlan& plan = planned.plan;
  const bool forwards = planned.forwards;
  check_source(formats, plan, *source);
  const json::Object auto_scheme = mix ? mix->report : json::Object();
  if (given.dry_run) return dry_run_report(wish, decided, auto_scheme, registry);
  QuantizeOptions options = wish.options;
  options.model_free = planned.model_free;  // for the record
  const std::unique_ptr<Model> model = open_model(planned, dtype, registry);
  SourceHashes hashes(planned.files);
  // One thread makes the output ready meanwhile. What is still to be downloaded is read beside the work.
  if (!forwards && planned.low_disk == nullptr) hashes.start(planned.model_free);
  if (planned.low_disk == nullptr) clear_shards(output_dir, reporter);
  const auto output = prepare_output(output_dir, formats, plan, *source, options.force, reporter,
                                     planned.low_disk == nullptr ? 0 : planned.low_disk->model().bytes_to_come());

  // Block forwards in f32 are this machine's business; the model that is written stays a bf16 model.
  const at::ScalarType model_dtype = !wish.recipe && tuning.options.amp_dtype == "float32" ? at::kFloat : stored;
  RunOutcome outcome{.auto_scheme = auto_scheme, .method = method_name(decided)};
  RunInputs inputs(given, *source, registry);
  if (const json::Value* samples = json::find(auto_scheme, "samples")) inputs.add_samples(samples->as_object());
  const Calibration calibration =
      forwards ? calibrate(options, tuning, *source, *model, registry, reporter) : Calibration{};
  outcome.calibration = calibration.report;
  if (planned.importance != nullptr) outcome.importance = planned.importance->describe();
  inputs.add_samples(calibration.report);
  if (forwards && stored == at::kBFloat16)
    outcome.compute = describe_compute(tuning.options, dtype);
  else if (forwards)
    outcome.compute = {{"dtype", "float32"}, {"chosen_by", "dtype of the model"}};
  return_large_blocks();  // calibration has reused its buffers; from here on TensorCacheScope does

  const ExportRequest request{.output_dir = output_dir,
                              .source = *source,
                              .plan = plan,
                              .run = run_settings(options, decided),
                              .model_dtype = model_dtype,
                              .max_shard_bytes = options.max_shard_bytes};
  ExportSet exports(formats, request, *output);
  GatheredImportance gathered;
  const bool saves = !options.save_imatrix.empty();
  QuantizeRun run{options,
                  tuning,
                  registry,
                  reporter,
                  *source,
                  *model,
                  plan,
                  exports,
                  hashes,
                  outcome,
                  dtype,
                  model_dtype,
                  planned.model_free,
                  planned.low_disk.get(),
                  planned.importance.get(),
                  saves && planned.importance == nullptr ? &gathered : nullptr};
  reporter.step(str("quantizing ", quantized_count(plan), " layers: ", plan.scheme_name, " (", describe(plan.global),
                    "), ", outcome.method));
  quantize_embeddings(run);
  if (forwards) {
    quantize_with_samples(run, calibration, planned.transforms);
  } else {
    hashes.start(planned.model_free);
    quantize_without_samples(run);
  }
  outcome.seconds = seconds_since(start);
  const std::vector<ExportReport> reports = finish_exports(run, inputs);
  check_target(run);
  throw_if_interrupted();
  planned.state.require_unchanged();
  output->commit();
  if (mix) mix->files.publish(reporter);
  if (saves)
    save_importance(planned.importance != nullptr ? planned.importance->matrix : gathered.matrix(calibration.report),
                    options.save_imatrix, source->config(), registry, reporter);
  return summary(run, reports);
}

}  // namespace arkit
