#include <algorithm>
#include <mutex>
#include <string>
#include <utility>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <arkit/error.h>
#include <arkit/scheme.h>
#include <arkit/str.h>

#include "jobs/quantize_run.h"
#include "quant/scheme_resolver.h"
#include "rounding/round_model.h"
#include "rounding/strip_rounding.h"
#include "rounding/usable_numbers.h"
#include "util/finite.h"
#include "util/naming_layer.h"

namespace arkit {
namespace {

void write_rows(QuantizeRun& run, const LayerRecord& strip, int64_t first_row) {
  require_usable_scales(strip);
  run.exports.add_strip(strip, first_row);
}

// A layer is with all exports.
void note_layer(QuantizeRun& run, const LayerPlan& plan, double relative_error) {
  run.written.insert(plan.name + ".weight");
  run.written.insert(plan.name + ".bias");
  run.outcome.layers.push_back({plan.name, describe(plan.quant), relative_error});
}

// What rounding finishes goes to the exports and into the record of the run.
class RunSink final : public RoundingSink {
 public:
  explicit RunSink(QuantizeRun& run) : run_(run) {}
  [[nodiscard]] bool wants_dequantized() const override { return run_.exports.wants(&ExporterInfo::wants_dequantized); }
  [[nodiscard]] bool wants_source() const override { return run_.exports.wants(&ExporterInfo::wants_source_weights); }
  [[nodiscard]] bool takes(std::string_view tensor) const override { return !is_dropped(run_.plan, tensor); }
  void coming_to(int64_t begin, int64_t end) override { run_.hashes.pace(begin, end); }
  void write_layer(LayerRecord record, double relative_error) override {
    write_record(run_, std::move(record), relative_error);
    run_.reporter.progress({"rounding and writing", ++layers_done_, layers_, "layers"});
  }
  [[nodiscard]] bool takes_strips(const LayerPlan& layer) const override { return run_.exports.takes_strips(layer); }
  void write_strip(const LayerRecord& strip, int64_t first_row) override { write_rows(run_, strip, first_row); }
  void end_layer(const LayerPlan& layer, double relative_error) override {
    note_layer(run_, layer, relative_error);
    run_.reporter.progress({"rounding and writing", ++layers_done_, layers_, "layers"});
  }
  void write_tensor(const std::string& name, const at::Tensor& tensor) override {
    run_.exports.add_plain(name, tensor, false);
  }
  void block_done(int64_t block, int64_t num_blocks, double seconds) override {
    const auto done = static_cast<int64_t>(run_.outcome.blocks.size());
    run_.outcome.blocks.push_back({.block = block, .seconds = seconds});
    run_.reporter.block_done({.block = done, .num_blocks = num_blocks, .seconds = seconds});
  }

 private:
  QuantizeRun& run_;
  const int64_t layers_ = std::count_if(run_.plan.layers.begin(), run_.plan.layers.end(), [](const LayerPlan& layer) {
    return layer.quantized() && layer.kind != LayerKind::embedding;
  });
  int64_t layers_done_ = 0;
};

}  // namespace

void write_record(QuantizeRun& run, LayerRecord record, double relative_error) {
  const LayerPlan& plan = record.plan;
  const std::string bias_name = plan.name + ".bias";
  if (!record.bias.defined() && run.source.weights().find(bias_name) != nullptr)
    record.bias = run.source.weights().load(bias_name);
  require_usable_scales(record);
  run.exports.add_layer(record);
  note_layer(run, plan, relative_error);
}

void write_layer(QuantizeRun& run, const Linear& layer, const QuantizedLayer& result) {
  const LayerPlan& plan = *result.plan;
  at::Tensor dequantized = result.dequantized;
  if (!dequantized.defined())
    dequantized = run.registry.scheme_for(plan.quant.weight.data_type)
                      .dequantize(result.quantized, plan.quant.weight, layer.weight.scalar_type());
  require_finite_result(plan.name, dequantized);
  LayerRecord record{.plan = plan, .quantized = result.quantized};
  record.bias = result.bias;
  if (run.exports.wants(&ExporterInfo::wants_dequantized)) record.dequantized = dequantized.to(run.model_dtype);
  if (run.exports.wants(&ExporterInfo::wants_source_weights)) record.source = layer.weight.to(run.model_dtype);
  if (run.exports.wants(&ExporterInfo::wants_imatrix)) {
    record.imatrix = result.imatrix;
    record.imatrix_count = result.imatrix_count;
  }
  record.act_max = result.act_max;
  const double error = relative_error(layer.weight, dequantized);
  require_something_left(
      plan, error, [&] { return layer.weight.abs().max().item<double>(); }, run.reporter);
  write_record(run, std::move(record), error);
}

namespace {

// A table is the largest tensor of many models: a strip to a thread, and where its file has it in codes it is never in
// memory as a whole.
void round_in_strips(QuantizeRun& run, const Linear& table, const LayerPlan& layer, const Scheme& scheme) {
  const bool dequantizes = run.exports.wants(&ExporterInfo::wants_dequantized);
  const bool whole = dequantizes || run.exports.wants(&ExporterInfo::wants_source_weights);
  const WeightSource& weights = run.source.weights();
  const std::string name = layer.name + ".weight";
  std::mutex mutex;
  StripRounding::Task task{.linear = table, .plan = layer, .scheme = scheme};
  task.read_from(weights, name, weights.find(name)->dtype);
  if (dequantizes) task.dequantized = run.model_dtype;
  const bool in_strips = !whole && run.exports.takes_strips(layer);
  if (in_strips)
    task.take = [&](const QuantizedWeight& part, int64_t first_row) {
      const std::lock_guard lock(mutex);
      write_rows(run, {.plan = layer, .quantized = part}, first_row);
    };
  StripRounding rounding(std::move(task));
  at::parallel_for(0, rounding.strips(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t strip = begin; strip < end; ++strip) rounding.round(strip);
  });
  require_something_left(
      layer, rounding.relative_error(), [&] { return rounding.largest_weight(); }, run.reporter);
  weights.release(name);
  if (in_strips) {
    note_layer(run, layer, rounding.relative_error());
    return;
  }
  LayerRecord record{.plan = layer, .quantized = rounding.quantized()};
  record.dequantized = rounding.dequantized();
  if (run.exports.wants(&ExporterInfo::wants_source_weights)) record.source = rounding.weight().to(run.model_dtype);
  write_record(run, std::move(record), rounding.relative_error());
}

}  // namespace

void quantize_embeddings(QuantizeRun& run) {
  const WeightSource& weights = run.source.weights();
  for (const LayerPlan& layer : run.plan.layers) {
    if (layer.kind != LayerKind::embedding || !layer.quantized()) continue;
    const std::string name = layer.name + ".weight";
    Linear table{.name = layer.name, .out_features = layer.out_features, .in_features = layer.in_features};
    const Scheme& scheme = run.registry.scheme_for(layer.quant.weight.data_type);
    // No sample tells how much its inputs count; a file may, of a table that is the head as well.
    const at::Tensor importance = run.importance == nullptr ? at::Tensor() : run.importance->of(layer.name);
    const RtnMode mode = importance.defined() ? RtnMode::searched : RtnMode::plain;
    if (!StripRounding::is_whole(layer, scheme, mode)) {
      round_in_strips(run, table, layer, scheme);
      continue;
    }
    table.weight = weights.load(name).contiguous();
    io::check_finite(table.weight, name);
    QuantizedLayer result{.plan = &layer};
    result.quantized = plugins::naming_layer(
        layer.name, [&] { return scheme.quantize_rtn(table.weight, layer.quant.weight, mode, importance, 1, {}); });
    write_layer(run, table, result);
    weights.release(name);
  }
}

void write_untouched(QuantizeRun& run, std::string_view prefix) {
  const WeightSource& weights = run.source.weights();
  for (const TensorInfo& info : weights.tensors()) {
    if (!info.name.starts_with(prefix) || run.written.contains(info.name)) continue;
    run.written.insert(info.name);
    if (is_dropped(run.plan, info.name)) continue;
    const at::Tensor tensor = weights.load(info.name);
    io::check_finite(tensor, info.name);
    run.exports.add_plain(info.name, tensor, false);
    weights.release(info.name);
  }
}

void quantize_without_samples(QuantizeRun& run) {
  RunSink sink(run);
  round_model({.registry = run.registry,
               .source = run.source,
               .model = run.model,
               .plan = run.plan,
               .reporter = run.reporter,
               .compute_dtype = run.compute_dtype,
               .model_dtype = run.model_dtype,
               .model_free = run.model_free,
               .disable_opt_rtn = run.tuning.disable_opt_rtn,
               .most_files = run.low_disk != nullptr ? hub::StreamedModel::kMostShards : 0,
               .importance = importance_of(run.importance)},
              sink);
}

}  // namespace arkit
