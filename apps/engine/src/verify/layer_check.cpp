#include "verify/layer_check.h"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <vector>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/log.h>
#include <arkit/scheme.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/sdk/layer_rules.h>
#include <arkit/sdk/tied_embeddings.h>
#include <arkit/str.h>

#include "verify/code_check.h"

namespace arkit {
namespace {

// A group whose errors all have one sign and are larger than rounding can make them (half a step, a little more where
// tuning moved a weight to the next code) is read with a zero point (or code offset) that is not the one it was written
// with: then every error is about a whole step. 0.9 leaves room for the one or two elements that clip.
constexpr double kOneSided = 0.9;
constexpr double kMoreThanRounding = 0.6;    // mean error in steps
constexpr double kShiftedShare = 0.01;       // of the groups of a layer: tuning may bias a few
constexpr double kRecordedTolerance = 0.02;  // of the recorded error
constexpr double kStraysOfOthers = 0.3;      // of the codes of a layer whose rounding made up for errors
constexpr const char* kWeightSuffix = ".weight";
// The recorded error is that of weights in the model's dtype; its rounding to bf16 adds up to this, which counts at 8
// bits.
constexpr double kBf16Rounding = 1.0 / 512.0;
// Formats store the scales of 8-bit floats in bf16, the recorded error is that of the scales before: up to half a step.
constexpr double kBf16Scale = 1.0 / 256.0;

std::string percent(double share) {
  return str(share * 100.0, " %");
}

at::Tensor whole_numbers_in(const at::Tensor& values, double low, double high) {
  return values.ge(low).logical_and(values.le(high)).logical_and(values.eq(values.round())).all();
}

void check_integer_codes(const LinearSpec& spec, const QuantizedWeight& weight, Check& check) {
  const double top = std::pow(2.0, spec.quant.weight.bits) - 1.0;
  if (weight.codes.scalar_type() == at::kByte && weight.codes.max().item<double>() > top)
    check.fail(str("'", spec.name, "': code ", weight.codes.max().item<int>(), " exceeds ", top));
  if (!weight.zero_point.defined() || whole_numbers_in(weight.zero_point, 0.0, top).item<bool>()) return;
  // What stores offsets instead (mlx) may have them anywhere: mlx-lm takes the smallest weight of a group.
  if (weight.offset.defined() && weight.zero_point.isfinite().all().item<bool>()) return;
  check.fail(str("'", spec.name, "': a zero point is outside 0 to ", top));
}

// Weights below this may be written as zeros: nothing computes with them.
constexpr double kNegligible = 1e-30;

// Squares of float32 end at 1e38 and begin at 1e-38; figures are ratios, for which all numbers may be divided by one.
double divisor_of(double largest) {
  constexpr double kFar = 1e12;
  return largest > 0.0 && std::isfinite(largest) && (largest > kFar || largest < 1.0 / kFar) ? largest : 1.0;
}

at::Tensor divided(const at::Tensor& values, double divisor) {
  if (divisor == 1.0 || !at::isFloatingType(values.scalar_type())) return values;
  return values.to(at::kDouble).div(divisor).to(at::kFloat);
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
  if (!weight.group_index.defined()) return {};
  return std::get<1>(weight.group_index.to(at::kLong).sort(true, 0));
}

// A scale of 0 is right for a group of zeros, whose codes say so by themselves: with a scale that is not 0 they decode
// to 0 as well. (Bytes hold floats of 8 bits: 127 is none of their zeros.) The exponents of MX types have no zero:
// their byte 0 is 2^-127, which is right for weights that are as small; only the source can tell.
void check_zero_scales(const LinearSpec& spec, const QuantizedWeight& weight, const Registry& registry, Check& check) {
  const TensorQuant& quant = spec.quant.weight;
  if (quant.data_type.starts_with("mx")) return;
  const at::Tensor zero = weight.scale.to(at::kFloat).eq(0);
  if (!zero.any().item<bool>()) return;
  const Scheme& scheme = registry.scheme_for(quant.data_type);
  const at::Tensor decoded = scheme.dequantize(weight, quant, at::kFloat);
  QuantizedWeight scaled = weight;
  const double one = weight.scale.scalar_type() == at::kByte ? 127.0 : 1.0;
  scaled.scale = at::where(zero, at::full_like(weight.scale, one, at::kFloat), weight.scale.to(at::kFloat))
                     .to(weight.scale.scalar_type());
  const at::Tensor lost =
      decoded.eq(0).logical_and(scheme.dequantize(scaled, quant, at::kFloat).ne(0).logical_and(decoded.isfinite()));
  if (!decoded.isfinite().all().item<bool>())
    check.fail(str("'", spec.name, "': a scale of 0 makes its weights no numbers"));
  else if (lost.any().item<bool>())
    check.fail(str("'", spec.name, "': a scale is 0 where codes are not"));
}

}  // namespace

void release_layer(const ModelSource& source, const std::string& layer) {
  for (const auto& [suffix, tensor] : sdk::packed_of(source).tensors(layer))
    source.weights().release(str(layer, ".", suffix));
}

CheckResult check_packed_values(const ModelSource& exported, const Registry& registry, Reporter& reporter) {
  Check check("packed values");
  int64_t seen = 0;
  const auto all = static_cast<int64_t>(sdk::packed_layers(exported).size());
  for (const LinearSpec& spec : sdk::packed_layers(exported)) {
    throw_if_interrupted();
    reporter.progress({"checking packed values", ++seen, all, "layers"});
    try {
      const QuantizedWeight weight = sdk::packed_of(exported).unpack(spec.name);
      if (weight.codes.sizes() != at::IntArrayRef({spec.out_features, spec.in_features}))
        check.fail(str("'", spec.name, "': its codes do not have the shape of the layer"));
      if (!weight.scale.to(at::kFloat).isfinite().all().item<bool>())
        check.fail(str("'", spec.name, "': a scale is not finite"));
      if (weight.global_scale.defined() &&
          !weight.global_scale.isfinite().logical_and(weight.global_scale.ne(0)).all().item<bool>())
        check.fail(str("'", spec.name, "': its global scale is 0 or not finite"));
      check_zero_scales(spec, weight, registry, check);
      if (spec.quant.weight.data_type == "int") check_integer_codes(spec, weight, check);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::interrupted) throw;
      check.fail(error.what());
    }
    release_layer(exported, spec.name);
  }
  return check.result(
      str(sdk::packed_layers(exported).size(), " packed layers: scales, zero points and codes in range"));
}

LayerFigures layer_figures(const std::string& name, const at::Tensor& stored_weight, const at::Tensor& decoded,
                           const at::Tensor& stored_scale) {
  const double divisor = divisor_of(stored_weight.abs().max().item<double>());
  const at::Tensor weight = divided(stored_weight, divisor), dequantized = divided(decoded, divisor);
  const at::Tensor scale = stored_scale.defined() ? divided(stored_scale, divisor) : stored_scale;
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

namespace {

// What rounding may do to one layer and what not.
class LayerJudge {
 public:
  LayerJudge(const ModelSource& source, const RecordedRounding& recorded, VerifyReport& report, Check& check)
      : source_(source), recorded_(recorded), report_(report), check_(check) {}

  void packed(const ModelSource& exported, const LinearSpec& spec, const Registry& registry) {
    const QuantizedWeight weight = sdk::packed_of(exported).unpack(spec.name);
    const TensorQuant& quant = spec.quant.weight;
    const Scheme& scheme = registry.scheme_for(quant.data_type);
    const at::Tensor decoded = scheme.dequantize(weight, quant, at::kFloat);
    const at::Tensor original = original_of(spec.name, decoded.sizes());
    if (!original.defined()) return;
    const at::Tensor order = inputs_by_group(weight);
    LayerFigures figures = order.defined() ? layer_figures(spec.name, original.index_select(1, order),
                                                           decoded.index_select(1, order), weight.scale)
                                           : layer_figures(spec.name, original, decoded, weight.scale);
    const double reach = recorded_.plain ? 0.0 : recorded_.reach;
    if (const auto codes = code_figures(original, weight, quant, scheme, reach, decoded)) {
      figures.strays = codes->strays;
      figures.worse_groups = codes->worse_groups;
    }
    if (!quant.data_type.starts_with("int")) figures.shifted_groups = 0.0;  // floats have no zero point
    judge(figures, original, decoded, quant.data_type.starts_with("fp") ? kBf16Scale : 0.0);
  }

  // `rounding`: what the dtype it is stored in adds, relative.
  void full_size(const std::string& name, const at::Tensor& stored) {
    const at::Tensor original = original_of(name, stored.sizes());
    if (!original.defined()) return;
    LayerFigures figures = layer_figures(name, original, stored, {});
    figures.worse_groups = worse_than_zeros(original.to(at::kFloat), stored.to(at::kFloat), 0);
    judge(figures, original, stored, c10::elementSize(stored.scalar_type()) > 2 ? 0.0 : kBf16Rounding);
  }

  // Tools that make up for errors as they round (GPTQ) move codes further: an export of theirs has some in most layers.
  void judge_codes() {
    std::vector<double> strays;
    for (const LayerFigures& figures : report_.layers()) strays.push_back(figures.strays);
    if (strays.empty()) return;
    const auto middle = strays.begin() + static_cast<std::ptrdiff_t>(strays.size() / 2);
    std::nth_element(strays.begin(), middle, strays.end());
    for (const LayerFigures& figures : report_.layers()) {
      const bool rounded = *middle == 0.0 || recorded_.errors.contains(figures.name);
      if (figures.strays > (rounded ? 0.0 : kStraysOfOthers))
        check_.fail(str("'", figures.name, "': ", percent(figures.strays), " of its codes are not ",
                        recorded_.plain ? "the nearest to the source's weight"
                                        : "as near to the source's weight as rounding and tuning leave them"));
      const bool moved =
          !recorded_.plain && recorded_.reach > 0.0;  // by tuning, as far as it may move groups of few bits
      if (figures.worse_groups > (rounded && !moved ? 0.0 : kShiftedShare))
        check_.fail(str("'", figures.name, "': ", percent(figures.worse_groups),
                        " of its groups are further from the source's weights than zeros would be"));
    }
  }

  [[nodiscard]] int64_t compared() const { return compared_; }

 private:
  at::Tensor original_of(const std::string& name, at::IntArrayRef shape) {
    const std::string tensor = name + kWeightSuffix;
    const TensorInfo* info = source_.weights().find(tensor);
    if (info == nullptr && model_free::is_head_layer(name))  // tied
      info = source_.weights().find(stored_embedding(source_) + kWeightSuffix);
    if (info == nullptr || at::IntArrayRef(info->shape) != shape) {
      check_.fail(str("'", name, "': the source has no weight of this shape"));
      return {};
    }
    const at::Tensor weight = source_.weights().load(info->name).to(at::kFloat, false, true);
    source_.weights().release(info->name);
    return weight;
  }

  // Is that the error that the run recorded? `rounding`: what the dtype of what is stored adds to it, relative.
  static bool agrees(double error, double recorded, double rounding) {
    const double slack = kRecordedTolerance * recorded + 1e-6;
    return error <= std::hypot(recorded, rounding) + slack && recorded <= std::hypot(error, kBf16Rounding) + slack;
  }

  // A run rounds a source of more digits to bf16 before anything else, and its errors are from there on: at 8 bits the
  // two steps are of one size.
  static double error_of_bf16(const LayerFigures& figures, const at::Tensor& original, const at::Tensor& decoded) {
    const at::Tensor rounded = original.to(at::kBFloat16).to(at::kFloat);
    return rounded.equal(original) ? figures.relative_error
                                   : layer_figures(figures.name, rounded, decoded, {}).relative_error;
  }

  void judge(const LayerFigures& figures, const at::Tensor& original, const at::Tensor& decoded, double rounding) {
    report_.add_layer(figures);
    ++compared_;
    const std::string& name = figures.name;
    const bool may_vanish = original.abs().max().item<double>() < kNegligible && figures.relative_error <= 1.0;
    if (!may_vanish && !(figures.relative_error < 1.0))
      check_.fail(str("'", name, "': differs from the source by ", figures.relative_error, " of its norm"));
    if (figures.shifted_groups > kShiftedShare)
      check_.fail(str("'", name, "': ", percent(figures.shifted_groups),
                      " of its groups are shifted to one side, as by a wrong zero point"));
    const auto found = recorded_.errors.find(name);
    if (found == recorded_.errors.end()) return;
    const double expected = found->second;
    if (!agrees(figures.relative_error, expected, rounding) &&
        !agrees(error_of_bf16(figures, original, decoded), expected, rounding))
      check_.fail(str("'", name, "': relative error ", figures.relative_error, ", the run recorded ", expected));
  }

  const ModelSource& source_;
  const RecordedRounding& recorded_;
  VerifyReport& report_;
  Check& check_;
  int64_t compared_ = 0;
};

}  // namespace

CheckResult check_layers_against_source(const ModelSource& exported, const ModelSource& source,
                                        const Registry& registry, const RecordedRounding& recorded, Reporter& reporter,
                                        VerifyReport& report) {
  Check check("layers against the source");
  LayerJudge judge(source, recorded, report, check);
  int64_t seen = 0;
  const auto all = static_cast<int64_t>(sdk::packed_layers(exported).size());
  for (const LinearSpec& spec : sdk::packed_layers(exported)) {
    throw_if_interrupted();
    reporter.progress({"comparing layers", ++seen, all, "layers"});
    try {
      judge.packed(exported, spec, registry);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::interrupted) throw;
      check.fail(error.what());
    }
    release_layer(exported, spec.name);
  }
  // Layers the run quantized that no reader reports: a format of full-size weights.
  if (sdk::packed_layers(exported).empty()) {
    for (const auto& [name, error] : recorded.errors) {
      const std::string tensor = name + kWeightSuffix;
      if (exported.weights().find(tensor) == nullptr) {
        check.fail(str("'", name, "': was quantized but is not in the export"));
        continue;
      }
      judge.full_size(name, exported.weights().load(tensor));
      exported.weights().release(tensor);
    }
  }
  judge.judge_codes();
  return check.result(str(judge.compared(), " layers decode to the source's weights"));
}

}  // namespace arkit
