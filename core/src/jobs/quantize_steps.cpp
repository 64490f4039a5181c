#include <string>
#include <utility>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/scheme.h>
#include <arkit/str.h>

#include "io/finite.h"
#include "jobs/quantize_run.h"
#include "plugins/naming_layer.h"
#include "quant/scheme_resolver.h"
#include "rounding/strip_rounding.h"
#include "rounding/usable_numbers.h"

namespace arkit {
void write_record(QuantizeRun& run, LayerRecord record, double relative_error) {
  const LayerPlan& plan = record.plan;
  const std::string bias_name = plan.name + ".bias";
  if (!record.bias.defined() && run.source.weights().find(bias_name) != nullptr)
    record.bias = run.source.weights().load(bias_name);
  require_usable_scales(record);
  run.exports.add_layer(record);
  run.written.insert(plan.name + ".weight");
  run.written.insert(bias_name);
  run.outcome.layers.push_back({plan.name, describe(plan.quant), relative_error});
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
  if (run.exports.wants_dequantized()) record.dequantized = dequantized.to(run.model_dtype);
  record.act_max = result.act_max;
  const double error = relative_error(layer.weight, dequantized);
  require_something_left(plan, error, layer.weight, run.reporter);
  write_record(run, std::move(record), error);
}

void quantize_embeddings(QuantizeRun& run) {
  for (const LayerPlan& layer : run.plan.layers) {
    if (layer.kind != LayerKind::embedding || !layer.quantized()) continue;
    const std::string name = layer.name + ".weight";
    Linear table{.name = layer.name, .out_features = layer.out_features, .in_features = layer.in_features};
    table.weight = run.source.weights().load(name).contiguous();
    io::check_finite(table.weight, name);
    const Scheme& scheme = run.registry.scheme_for(layer.quant.weight.data_type);
    QuantizedLayer result{.plan = &layer};
    result.quantized = plugins::naming_layer(
        layer.name, [&] { return scheme.quantize_rtn(table.weight, layer.quant.weight, RtnMode::plain, {}, 0, {}); });
    write_layer(run, table, result);
    run.source.weights().release(name);
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

}  // namespace arkit
