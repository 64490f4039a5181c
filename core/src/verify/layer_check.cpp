#include "verify/layer_check.h"

#include <cmath>
#include <tuple>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/log.h>
#include <arkit/scheme.h>
#include <arkit/str.h>

namespace arkit {
namespace {

// A group whose errors all have one sign and are larger than rounding can make them (half a step, a little more where
// tuning moved a weight to the next code) is read with a zero point (or code offset) that is not the one it was written
// with: then every error is about a whole step. 0.9 leaves room for the one or two elements that clip.
constexpr double kOneSided = 0.9;
constexpr double kMoreThanRounding = 0.6;    // mean error in steps
constexpr int64_t kSmallestGroup = 16;       // in smaller groups one sign happens by chance
constexpr double kShiftedShare = 0.01;       // of the groups of a layer: tuning may bias a few
constexpr double kRecordedTolerance = 0.02;  // of the recorded error
// The recorded error is that of weights in the model's dtype; its rounding to bf16 adds up to this, which counts at 8
// bits.
constexpr double kBf16Rounding = 1.0 / 512.0;

at::Tensor whole_numbers_in(const at::Tensor& values, double low, double high) {
  return values.ge(low).logical_and(values.le(high)).logical_and(values.eq(values.round())).all();
}

void check_integer_codes(const LinearSpec& spec, const QuantizedWeight& weight, Check& check) {
  const double top = std::pow(2.0, spec.quant.weight.bits) - 1.0;
  if (weight.codes.scalar_type() == at::kByte && weight.codes.max().item<double>() > top)
    check.fail(str("'", spec.name, "': code ", weight.codes.max().item<int>(), " exceeds ", top));
  if (!weight.zero_point.defined() || whole_numbers_in(weight.zero_point, 0.0, top).item<bool>()) return;
  // What stores offsets instead (mlx) may have them anywhere: mlx-lm takes the smallest weight of a group.
  if (weight.extra.contains("offset") && weight.zero_point.isfinite().all().item<bool>()) return;
  check.fail(str("'", spec.name, "': a zero point is outside 0 to ", top));
}

// Errors of one group in a row of the result: [out, groups, group], the last group filled up with zeros.
at::Tensor grouped(const at::Tensor& values, int64_t groups) {
  const int64_t in = values.size(1);
  const int64_t group = (in + groups - 1) / groups;
  return at::constant_pad_nd(values, {0, groups * group - in}).reshape({values.size(0), groups, group});
}

// The inputs group after group where they are scattered (act order), so that figures by group see whole ones; undefined
// where groups are runs.
at::Tensor inputs_by_group(const QuantizedWeight& weight) {
  const auto index = weight.extra.find("g_idx");
  if (index == weight.extra.end()) return {};
  return std::get<1>(index->second.to(at::kLong).sort(true, 0));
}

}  // namespace

CheckResult check_packed_values(const ModelSource& exported) {
  Check check("packed values");
  for (const LinearSpec& spec : exported.packed_layers()) {
    throw_if_interrupted();
    try {
      const QuantizedWeight weight = exported.unpack(spec.name);
      if (weight.codes.sizes() != at::IntArrayRef({spec.out_features, spec.in_features}))
        check.fail(str("'", spec.name, "': its codes do not have the shape of the layer"));
      const at::Tensor scale = weight.scale.to(at::kFloat);
      if (!scale.isfinite().all().item<bool>()) check.fail(str("'", spec.name, "': a scale is not finite"));
      if (scale.eq(0).any().item<bool>()) check.fail(str("'", spec.name, "': a scale is 0"));
      if (spec.quant.weight.data_type == "int") check_integer_codes(spec, weight, check);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::interrupted) throw;
      check.fail(error.what());
    }
    for (const auto& [suffix, tensor] : exported.packed_tensors(spec.name))
      exported.weights().release(str(spec.name, ".", suffix));
  }
  return check.result(str(exported.packed_layers().size(), " packed layers: scales, zero points and codes in range"));
}

LayerFigures layer_figures(const std::string& name, const at::Tensor& weight, const at::Tensor& dequantized,
                           const at::Tensor& scale) {
  const at::Tensor error = weight.to(at::kFloat) - dequantized.to(at::kFloat);
  LayerFigures figures{.name = name};
  const double norm = weight.to(at::kFloat).norm().item<double>();
  figures.relative_error = norm > 0.0 ? error.norm().item<double>() / norm : 0.0;
  const bool by_row = scale.defined() && scale.dim() == 2 && scale.size(0) == weight.size(0);
  const int64_t groups = by_row ? scale.size(1) : 1;
  const at::Tensor by_group = grouped(error, groups);
  const at::Tensor magnitude = by_group.abs().sum(-1);
  const bool judged = (weight.size(1) + groups - 1) / groups >= kSmallestGroup;
  if (judged && by_row) {
    const double group = static_cast<double>(by_group.size(-1));
    const at::Tensor step = scale.to(at::kFloat).abs();
    const at::Tensor one_sided = by_group.sum(-1).abs().gt(magnitude * kOneSided);
    figures.shifted_groups =
        one_sided.logical_and(magnitude.gt(step * (kMoreThanRounding * group))).to(at::kFloat).mean().item<double>();
  }
  if (by_row) {
    const at::Tensor step = scale.to(at::kFloat).abs();
    figures.mean_error = error.mean().item<double>() / step.mean().item<double>();
    figures.max_error = by_group.abs().amax(-1).div(step).max().item<double>();
  }
  return figures;
}

CheckResult check_layers_against_source(const ModelSource& exported, const ModelSource& source,
                                        const Registry& registry, const std::map<std::string, double>& recorded,
                                        VerifyReport& report) {
  Check check("layers against the source");
  int64_t compared = 0;
  const auto judge = [&](const std::string& name, const at::Tensor& dequantized, const at::Tensor& scale,
                         const at::Tensor& order) {
    const std::string weight_name = name + ".weight";
    const TensorInfo* info = source.weights().find(weight_name);
    if (info == nullptr || info->shape != dequantized.sizes().vec()) {
      check.fail(str("'", name, "': the source has no weight of this shape"));
      return;
    }
    const at::Tensor weight = source.weights().load(weight_name);
    const LayerFigures figures =
        order.defined() ? layer_figures(name, weight.index_select(1, order), dequantized.index_select(1, order), scale)
                        : layer_figures(name, weight, dequantized, scale);
    source.weights().release(weight_name);
    report.add_layer(figures);
    ++compared;
    if (!std::isfinite(figures.relative_error) || figures.relative_error >= 1.0)
      check.fail(str("'", name, "': differs from the source by ", figures.relative_error, " of its norm"));
    if (figures.shifted_groups > kShiftedShare)
      check.fail(str("'", name, "': ", figures.shifted_groups * 100.0,
                     " % of its groups are shifted to one side, as by a wrong zero point"));
    const auto expected = recorded.find(name);
    if (expected == recorded.end()) return;
    const double slack = kRecordedTolerance * expected->second + 1e-6;
    if (expected->second < figures.relative_error - slack ||
        expected->second > std::hypot(figures.relative_error, kBf16Rounding) + slack)
      check.fail(str("'", name, "': relative error ", figures.relative_error, ", the run recorded ", expected->second));
  };
  for (const LinearSpec& spec : exported.packed_layers()) {
    throw_if_interrupted();
    try {
      const QuantizedWeight weight = exported.unpack(spec.name);
      const Scheme& scheme = registry.scheme_for(spec.quant.weight.data_type);
      judge(spec.name, scheme.dequantize(weight, spec.quant.weight, at::kFloat), weight.scale, inputs_by_group(weight));
    } catch (const Error& error) {
      if (error.code() == ErrorCode::interrupted) throw;
      check.fail(error.what());
    }
  }
  // Layers the run quantized that no reader reports: a format of full-size weights.
  if (exported.packed_layers().empty()) {
    for (const auto& [name, error] : recorded) {
      if (exported.weights().find(name + ".weight") == nullptr)
        check.fail(str("'", name, "': was quantized but is not in the export"));
      else
        judge(name, exported.weights().load(name + ".weight"), {}, {});
    }
  }
  return check.result(str(compared, " layers decode to the source's weights"));
}

}  // namespace arkit
