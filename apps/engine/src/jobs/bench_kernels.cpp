#include <utility>

#include <ATen/ATen.h>

#include <arkit/scheme.h>
#include <arkit/str.h>

#include "inference/backend_choice.h"
#include "jobs/bench_parts.h"

namespace arkit {
namespace {

struct Shape {
  int64_t rows, width;
};
constexpr Shape kShapes[] = {{1, 2048}, {1, 8192}, {128, 2048}};

// A few rows are rounded by the scheme, and the others are the same again: it is the time of products that counts.
QuantizedWeight random_codes(Scheme& scheme, const TensorQuant& quant, int64_t width) {
  constexpr int64_t kRounded = 64;
  const at::Tensor weight = at::randn({kRounded, width}, at::kFloat);
  QuantizedWeight some = scheme.quantize_rtn(weight, quant, RtnMode::plain, {}, 0, {});
  some.codes = some.codes.repeat({width / kRounded, 1});
  some.scale = some.scale.repeat({width / kRounded, 1});
  if (some.zero_point.defined()) some.zero_point = some.zero_point.repeat({width / kRounded, 1});
  return some;
}

}  // namespace

std::vector<BenchRow> bench_kernels(const BenchOptions& options, const MachinePeaks& peaks, const Registry& registry,
                                    std::string& backend_used) {
  const BackendChooser chooser(registry, {options.backend, options.device});
  std::vector<BenchRow> rows;
  at::manual_seed(7);
  for (const auto& [height, width] : kShapes) {
    LinearSpec spec{.name = str("a layer of ", width, " x ", width),
                    .packing = {},
                    .out_features = width,
                    .in_features = width,
                    .quant = {.weight = {.bits = 4, .group_size = 128, .scale_dtype = "float32"}}};
    const BackendChoice choice = chooser.choose_or_throw(spec);
    backend_used = choice.backend->info().name;
    Scheme& scheme = registry.scheme_for(spec.quant.weight.data_type);
    const QuantizedWeight codes = random_codes(scheme, spec.quant.weight, width);
    const LayerWeights weights{
        spec,
        {},
        [&] { return codes; },
        [&](at::ScalarType dtype) { return scheme.dequantize(codes, spec.quant.weight, dtype); }};
    const auto linear = choice.backend->make_linear(weights, choice.verdict.device, at::kFloat);
    const at::Tensor x = at::randn({height, width}, at::kFloat);
    const double seconds = median_seconds(options.seconds, [&] { (void)linear->forward(x); });
    const double operations = 2.0 * static_cast<double>(height * width * width);
    BenchRow row{.group = "kernels",
                 .what = str("int4 G128, ", height, height == 1 ? " row by " : " rows by ", width, " x ", width),
                 .threads = peaks.threads};
    if (height == 1) {
      row.value = static_cast<double>(linear->bytes()) / seconds / 1e9;
      row.unit = "GB/s";
      row.roofline = peaks.bandwidth / 1e9;
      row.bound_by = "bandwidth";
    } else {
      row.value = operations / seconds / 1e9;
      row.unit = "GOP/s";
      row.roofline = peaks.dot / 1e9;
      row.bound_by = "dot";
    }
    row.what += str(" (", static_cast<int64_t>(seconds * 1e9) / 1000.0, " us)");
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace arkit
