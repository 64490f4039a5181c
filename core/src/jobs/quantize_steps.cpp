#include <cmath>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <arkit/error.h>
#include <arkit/scheme.h>
#include <arkit/str.h>

#include "io/finite.h"
#include "jobs/quantize_run.h"
#include "quant/scheme_resolver.h"

namespace arkit {
namespace {

// Buffers old checkpoints carry that no model loads.
bool dropped_by_rule(std::string_view name, const QuantPlan& plan) {
  if (name.ends_with("rotary_emb.inv_freq")) return true;
  return plan.tied_embeddings && name == "lm_head.weight";
}

template <typename W, typename D>
void add_squares(const W* w, const D* d, int64_t n, double& error, double& norm) {
  float e = 0.0F, m = 0.0F;  // rows are short enough for f32 partial sums
  for (int64_t i = 0; i < n; ++i) {
    const auto x = static_cast<float>(w[i]);
    const float delta = x - static_cast<float>(d[i]);
    e += delta * delta;
    m += x * x;
  }
  error += static_cast<double>(e);
  norm += static_cast<double>(m);
}

}  // namespace

double relative_error(const at::Tensor& weight, const at::Tensor& dequantized) {
  const int64_t rows = weight.size(0), width = weight.size(1);
  std::vector<double> error(static_cast<size_t>(rows)), norm(static_cast<size_t>(rows));
  const at::Tensor d =
      dequantized.scalar_type() == weight.scalar_type() ? dequantized : dequantized.to(weight.scalar_type());
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, weight.scalar_type(), "relative_error", [&] {
    const scalar_t* w = weight.const_data_ptr<scalar_t>();
    const scalar_t* q = d.const_data_ptr<scalar_t>();
    at::parallel_for(0, rows, 64, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r)
        add_squares(w + r * width, q + r * width, width, error[static_cast<size_t>(r)], norm[static_cast<size_t>(r)]);
    });
  });
  double e = 0.0, m = 0.0;
  for (int64_t r = 0; r < rows; ++r) {
    e += error[static_cast<size_t>(r)];
    m += norm[static_cast<size_t>(r)];
  }
  return m > 0.0 ? std::sqrt(e / m) : 0.0;
}

void write_layer(QuantizeRun& run, const Linear& layer, const QuantizedLayer& result) {
  const LayerPlan& plan = *result.plan;
  const WeightSource& weights = run.source.weights();
  const std::string bias_name = layer.name + ".bias";
  at::Tensor dequantized = result.dequantized;
  if (!dequantized.defined())
    dequantized = run.registry.scheme_for(plan.quant.weight.data_type)
                      .dequantize(result.quantized, plan.quant.weight, layer.weight.scalar_type());
  LayerRecord record{.plan = plan, .quantized = result.quantized};
  if (result.bias.defined()) {
    record.bias = result.bias;
  } else if (weights.find(bias_name) != nullptr) {
    record.bias = weights.load(bias_name);
  }
  if (run.exports.wants_dequantized()) record.dequantized = dequantized.to(run.model_dtype);
  record.act_max = result.act_max;
  run.exports.add_layer(record);
  run.written.insert(layer.name + ".weight");
  run.written.insert(bias_name);
  run.outcome.layers.push_back({layer.name, describe(plan.quant), relative_error(layer.weight, dequantized)});
}

void write_untouched(QuantizeRun& run, std::string_view prefix) {
  const WeightSource& weights = run.source.weights();
  for (const TensorInfo& info : weights.tensors()) {
    if (!info.name.starts_with(prefix) || run.written.contains(info.name)) continue;
    run.written.insert(info.name);
    if (dropped_by_rule(info.name, run.plan)) continue;
    const at::Tensor tensor = weights.load(info.name);
    io::check_finite(tensor, info.name);
    run.exports.add_plain(info.name, tensor, false);
    weights.release(info.name);
  }
}

}  // namespace arkit
