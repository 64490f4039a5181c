#include <arkit/sdk/scaled_scheme.h>

#include <algorithm>
#include <limits>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <arkit/error.h>
#include <arkit/sdk/observer.h>
#include <arkit/str.h>

#include "scaled_tensors.h"

namespace arkit::sdk {
namespace {

[[noreturn]] void refuse_not_finite() {
  throw_input(
      "the weight holds a NaN or an infinity; finite values are needed to quantize it, repair the checkpoint or keep "
      "this layer in 16 bits with --ignore_layers");
}

ScaleLayout weight_layout(const at::Tensor& weight, const TensorQuant& quant) {
  ARKIT_CHECK(weight.dim() == 2 && weight.is_contiguous() && weight.is_cpu(),
              "a weight must be a contiguous matrix on the CPU");
  return scale_layout(weight.size(0), weight.size(1), quant);
}

at::Tensor finite_peaks(const at::Tensor& weight, const ScaleLayout& layout) {
  bool finite = true;
  at::Tensor peak = scaled::peaks(weight, layout, &finite);
  if (!finite) refuse_not_finite();
  return peak;
}

// Observers compute in the dtype the weight is stored in, which may have been widened for block forwards. Otherwise
// formats that compute in the weight's dtype have no use for float16's range (docs/spec/floats.md 2).
at::Tensor readable(const at::Tensor& weight, const TensorQuant& quant, bool narrow) {
  if (!quant.observer.empty()) return weight.to(arithmetic_dtype(quant));
  return narrow && weight.scalar_type() == at::kHalf ? weight.to(at::kBFloat16) : weight;
}

at::Tensor shaped(const at::Tensor& scales, const ScaleLayout& layout, const TensorQuant& quant) {
  if (quant.group_size == 0) return scales.reshape({1});
  return scales.reshape({layout.bands(), layout.groups.per_row});
}

constexpr int64_t kShrunkAtOnce = int64_t{1} << 21;  // weights whose errors are in memory at a time

// Sum of |y - x|^kMseNorm under every scale, each step rounded to the dtype of x.
at::Tensor observed_loss(const at::Tensor& x, const ScaleLayout& layout, const ScaledScheme::Scales& scales,
                         const ElementRule& rule) {
  scaled::Matrix matrix{.x = x, .layout = layout, .rule = rule};
  matrix.scale = scaled::spread(scales.scale, layout);
  matrix.narrow_quotient = x.scalar_type() != at::kFloat;
  at::Tensor error = at::empty_like(x);
  scaled::fake_quant(matrix, error);
  error.sub_(x).abs_().pow_(kMseNorm);
  const GroupShape& groups = layout.groups;
  const int64_t more_columns = groups.per_row * groups.group - groups.in;
  const int64_t more_rows = layout.bands() * layout.rows - groups.out;
  if (more_columns + more_rows > 0) error = at::constant_pad_nd(error, {0, more_columns, 0, more_rows});
  return error.view({layout.bands(), layout.rows, groups.per_row, groups.group}).sum(at::IntArrayRef{1, 3}).flatten();
}

}  // namespace

ScaleLayout scale_layout(int64_t out_features, int64_t in_features, const TensorQuant& quant) {
  if (quant.group_size == 0) return {group_shape(out_features, in_features, -1), std::max<int64_t>(1, out_features)};
  return {group_shape(out_features, in_features, quant.group_size), std::max<int64_t>(1, quant.block_rows)};
}

std::span<const float> ScaledScheme::multipliers(const TensorQuant&) const {
  return {};
}

bool ScaledScheme::narrow(const TensorQuant&) const {
  return false;
}

bool ScaledScheme::searches(const TensorQuant& quant) const {
  return quant.observer.empty() && !multipliers(quant).empty();
}

SchemeTraits ScaledScheme::traits(const LayerQuant& quant) const {
  const bool searched = searches(quant.weight);
  return {.searches = searched,
          .imatrix_when_tuned = searched,
          .outlier_free_loss = leaves_out_outliers(quant),
          .independent_rows = has_independent_rows(quant.weight)};
}

at::Tensor ScaledScheme::act_global_scale(const at::Tensor&, const at::Tensor&, const TensorQuant&) const {
  return {};
}

double ScaledScheme::bits_per_weight(const LayerPlan& layer) const {
  const TensorQuant& quant = layer.quant.weight;
  if (!quant.quantized()) return 16;
  const ScaleLayout layout = scale_layout(layer.out_features, layer.in_features, quant);
  return quant.bits + static_cast<double>(stored_scale_bits(quant)) * static_cast<double>(layout.scales()) /
                          (static_cast<double>(layer.out_features) * static_cast<double>(layer.in_features));
}

// A weight under its tuning parameters, ready for the kernels.
struct ScaledScheme::Tuned {
  scaled::Matrix matrix;
  Scales scales;
  at::Tensor factor;  // peak = weight_max * max_scale * init_scale: d peak / d max_scale; undefined = not tuned
  at::ScalarType dtype = at::kFloat;
};

ScaledScheme::Tuned ScaledScheme::tuned(const at::Tensor& weight, const WeightTuning& tuning,
                                        const TensorQuant& quant) const {
  Tuned t;
  const bool in_weight_dtype = narrow(quant);
  t.matrix.x = readable(weight, quant, in_weight_dtype);
  t.matrix.layout = weight_layout(weight, quant);
  t.matrix.rule = element_rule(quant);
  at::Tensor peak = tuning.weight_max.to(at::kFloat);
  ARKIT_CHECK(peak.numel() == t.matrix.layout.scales(), "weight_max must hold one value per scale");
  if (tuning.max_scale.defined()) {
    const at::Tensor multiplier = tuning.init_scale.defined() ? tuning.max_scale * tuning.init_scale : tuning.max_scale;
    t.factor = tuning.init_scale.defined() ? peak * tuning.init_scale : peak;
    peak = peak * multiplier;
  } else if (tuning.init_scale.defined()) {
    peak = peak * tuning.init_scale;
  } else if (in_weight_dtype || !quant.observer.empty()) {
    t.dtype = t.matrix.x.scalar_type();
    t.matrix.narrow_quotient = in_weight_dtype && t.dtype != at::kFloat;
  }
  t.scales = scales_of(peak, tuning.global_scale, quant, t.dtype);
  t.matrix.scale = scaled::spread(t.scales.scale, t.matrix.layout);
  t.matrix.inverse = scaled::spread(t.scales.inverse, t.matrix.layout);
  t.matrix.v = tuning.v;
  return t;
}

WeightTuning ScaledScheme::begin_tuning(const at::Tensor& weight, const TensorQuant& quant,
                                        const TuningSetup& setup) const {
  const at::NoGradGuard no_grad;
  const ScaleLayout layout = weight_layout(weight, quant);
  const at::Tensor w = readable(weight, quant, narrow(quant));
  const at::Tensor peak = finite_peaks(w, layout);
  WeightTuning tuning;
  tuning.v = at::zeros({layout.groups.total(), layout.groups.group}, at::kFloat);
  tuning.weight_max = peak.to(w.scalar_type());
  tuning.weight_min = at::zeros_like(tuning.weight_max);
  tuning.global_scale = setup.global_scale.defined() ? setup.global_scale : global_scale(weight, quant);
  if (setup.enable_minmax_tuning) tuning.max_scale = at::ones({layout.scales()}, at::kFloat);
  if (setup.enable_alg_ext && searches(quant)) {
    tuning.init_scale = search(w, layout, peak, quant, setup.imatrix, false);
    tuning.scale_limit = 2.0F;
  }
  return tuning;
}

void ScaledScheme::fake_quant_weight(const at::Tensor& weight, const WeightTuning& tuning, const TensorQuant& quant,
                                     at::Tensor& out) const {
  const at::NoGradGuard no_grad;
  scaled::fake_quant(tuned(weight, tuning, quant).matrix, out);
}

void ScaledScheme::fake_quant_weight_backward(const at::Tensor& weight, const WeightTuning& tuning,
                                              const TensorQuant& quant, const at::Tensor& grad_out,
                                              WeightGradient& gradient) const {
  const at::NoGradGuard no_grad;
  const Tuned t = tuned(weight, tuning, quant);
  const at::Tensor by_group = scaled::gradient(t.matrix, grad_out, tuning.v.defined() ? &gradient.v : nullptr, nullptr);
  if (!tuning.max_scale.defined()) return;
  const at::Tensor grad = scaled::total(by_group, t.matrix.layout) * t.scales.slope * t.factor;
  if (gradient.max_scale.defined())
    gradient.max_scale.add_(grad);
  else
    gradient.max_scale = grad;
}

at::Tensor ScaledScheme::fake_quant_act(const at::Tensor& x, const TensorQuant& quant,
                                        const at::Tensor& static_max) const {
  if (x.numel() == 0) return x;
  const at::Tensor rows = x.reshape({-1, x.size(-1)}).contiguous();
  // Without a calibrated maximum (an expert no token reached) the range is that of x.
  const at::Tensor limit = quant.dynamic ? at::Tensor() : static_max;
  TensorQuant cut = quant;
  if (!quant.dynamic) cut.group_size = 0;
  const ScaleLayout layout = scale_layout(rows.size(0), rows.size(1), cut);
  const at::Tensor global = act_global_scale(rows, static_max, quant);
  const at::Tensor y =
      scaled::fake_quant_activation(rows, layout, element_rule(quant), limit,
                                    [&](const at::Tensor& peak) { return scales_of(peak, global, quant, at::kFloat); });
  return y.view(x.sizes());
}

QuantizedWeight ScaledScheme::quantize_tuned(const at::Tensor& weight, const WeightTuning& tuning,
                                             const TensorQuant& quant) const {
  const at::NoGradGuard no_grad;
  const Tuned t = tuned(weight, tuning, quant);
  QuantizedWeight r;
  r.codes = scaled::encode(t.matrix);
  if (t.matrix.rule.grid.bits == 8 && t.matrix.rule.grid.min_exponent < 0)
    r.codes = r.codes.view(t.matrix.rule.grid.mantissa == 3 ? at::kFloat8_e4m3fn : at::kFloat8_e5m2);
  r.scale = encode_scale(shaped(t.scales.coded, t.matrix.layout, quant), quant, t.dtype);
  if (tuning.global_scale.defined()) r.global_scale = tuning.global_scale.reshape({1});
  return r;
}

QuantizedWeight ScaledScheme::quantize_rtn(const at::Tensor& weight, const TensorQuant& quant, RtnMode mode,
                                           const at::Tensor& imatrix, int64_t imatrix_count,
                                           const at::Tensor& global) const {
  const at::NoGradGuard no_grad;
  const ScaleLayout layout = weight_layout(weight, quant);
  const at::Tensor w = readable(weight, quant, narrow(quant));
  at::Tensor peak = finite_peaks(w, layout);
  if (quant.observer == kMse) peak = shrunk(w, layout, peak, quant);
  WeightTuning plain;
  plain.weight_max = peak;
  plain.global_scale = global.defined() ? global : global_scale(weight, quant);
  if (mode == RtnMode::searched && searches(quant)) {
    const bool counted = imatrix.defined() && imatrix_count > 0;
    plain.init_scale = search(w, layout, peak, quant, counted ? imatrix / imatrix_count : imatrix, true);
  }
  return quantize_tuned(weight, plain, quant);
}

// docs/spec/rtn.md 5: the multiplier of every group's largest magnitude with the smallest loss; the first of equals.
at::Tensor ScaledScheme::search(const at::Tensor& weight, const ScaleLayout& layout, const at::Tensor& peak,
                                const TensorQuant& quant, const at::Tensor& imatrix, bool repair) const {
  ARKIT_CHECK(layout.rows == 1, "a search needs groups along rows");
  const at::Tensor importance = repair ? scaled::repaired_importance(imatrix, weight, quant.group_size, quant.bits)
                                       : (imatrix.defined() ? imatrix.to(at::kFloat).contiguous() : imatrix);
  const at::Tensor global = global_scale(weight, quant);
  const std::span<const float> factors = multipliers(quant);
  const auto count = static_cast<int64_t>(factors.size());
  const at::Tensor all = at::tensor(at::ArrayRef<float>(factors.data(), factors.size()));
  const auto candidates = [&](int64_t begin, int64_t end) {
    const at::Tensor tried = all.unsqueeze(1) * peak.narrow(0, begin, end - begin).unsqueeze(0);
    return scales_of(tried.reshape({-1}), global, quant, at::kFloat);
  };
  return all.index_select(0, scaled::chosen(weight, layout, element_rule(quant), importance, count, candidates));
}

at::Tensor ScaledScheme::shrunk(const at::Tensor& weight, const ScaleLayout& layout, const at::Tensor& peak,
                                const TensorQuant& quant) const {
  const at::ScalarType dtype = weight.scalar_type();
  const int64_t out = layout.groups.out, per_row = layout.groups.per_row, rows = layout.rows;
  const int64_t at_once = std::max<int64_t>(1, kShrunkAtOnce / (rows * layout.groups.in));  // bands
  const at::Tensor widest = peak.to(dtype);
  at::Tensor best = widest.clone(), least = at::full_like(widest, std::numeric_limits<double>::infinity());
  for (int step = 0, idle = 0; step < kMseSteps && idle < kMsePatience; ++step) {
    bool gained = false;
    for (int64_t band = 0; band < layout.bands(); band += at_once) {
      const int64_t bands = std::min(at_once, layout.bands() - band), count = std::min(bands * rows, out - band * rows);
      ScaleLayout part = layout;
      part.groups.out = count;
      const auto of_part = [&](const at::Tensor& scales) { return scales.narrow(0, band * per_row, bands * per_row); };
      const at::Tensor tried = of_part(widest) * (1.0 - static_cast<double>(step) / kMseGrid);
      const at::Tensor loss = observed_loss(weight.narrow(0, band * rows, count), part,
                                            scales_of(tried.to(at::kFloat), {}, quant, dtype), element_rule(quant));
      at::Tensor so_far = of_part(least), kept = of_part(best);
      const at::Tensor better = loss < so_far;
      gained = gained || better.any().item<bool>();
      so_far.copy_(at::where(better, loss, so_far));
      kept.copy_(at::where(better, tried, kept));
    }
    idle = gained ? 0 : idle + 1;
  }
  return best.to(at::kFloat);
}

at::Tensor ScaledScheme::dequantize(const QuantizedWeight& weight, const TensorQuant& quant,
                                    at::ScalarType dtype) const {
  const at::NoGradGuard no_grad;
  ARKIT_CHECK(weight.codes.dim() == 2 && weight.codes.element_size() == 1, "codes must be a matrix of bytes");
  const ScaleLayout layout = scale_layout(weight.codes.size(0), weight.codes.size(1), quant);
  const at::Tensor scale = decode_scale(weight.scale.reshape({-1}), weight.global_scale, quant);
  ARKIT_CHECK(scale.numel() == layout.scales(),
              str("scale must hold ", layout.scales(), " values, it holds ", scale.numel()));
  return scaled::decode(weight.codes.contiguous(), layout, element_rule(quant).grid,
                        scaled::spread(scale.contiguous(), layout), dtype);
}

}  // namespace arkit::sdk
