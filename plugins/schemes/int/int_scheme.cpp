#include "int_scheme.h"

#include <array>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <arkit/error.h>
#include <arkit/sdk/observer.h>
#include <arkit/str.h>

#include "int_activation.h"
#include "int_neuqi.h"
#include "int_observer.h"
#include "int_tensors.h"

namespace arkit::int_scheme {
namespace {

// The last two are "int" with an observer as soon as a plan is made (README.md, scales by other rules).
constexpr std::array<std::string_view, 3> kDataTypes = {"int", "int_sym_gptq", "mx_uint"};
constexpr SchemeInfo kInfo = {"int", "integers of 2 to 8 bits, symmetric or asymmetric, one scale per group",
                              kDataTypes};

// Codes that fill whole 32-bit words for every number of bits (docs/spec/packing.md 1).
constexpr int64_t kWordCodes = 32;

Preset weight_only(int bits, int64_t group_size, const std::string& suffix) {
  Preset preset;
  preset.name = str("W", bits, "A16", suffix);
  preset.summary = str(bits, "-bit symmetric integer weights in groups of ", group_size);
  preset.quant.weight.bits = bits;
  preset.quant.weight.group_size = group_size;
  preset.quant.act.group_size = group_size;
  return preset;
}

// One scale an output channel, one a token.
Preset weight_and_activation(std::string name, int bits) {
  Preset preset;
  preset.name = std::move(name);
  preset.summary = str(bits, "-bit symmetric integer weights per channel and activations per token");
  preset.quant.weight.bits = bits;
  preset.quant.weight.group_size = -1;
  preset.quant.act = preset.quant.weight;
  return preset;
}

// docs/spec/schemes.md 1: W2A16 .. W8A16 in groups of 128, the same in groups of 64 and 32, and the mixed preset of
// section 3.
std::vector<Preset> make_presets() {
  std::vector<Preset> presets;
  for (int bits = 2; bits <= 8; ++bits) {
    presets.push_back(weight_only(bits, 128, ""));
    presets.push_back(weight_only(bits, 64, "G64"));
    presets.push_back(weight_only(bits, 32, "G32"));
  }
  presets.push_back(weight_and_activation("INT8", 8));
  presets.push_back(weight_and_activation("INT8_W8A8", 8));  // the name INT8 had first
  presets.push_back(weight_and_activation("INT4", 4));
  Preset mixed = weight_only(4, 128, "_MIXED");
  mixed.summary = "4-bit routed experts, 8-bit integers in every other linear";
  mixed.dense = weight_only(8, 128, "").quant;
  presets.push_back(mixed);
  return presets;
}

// What holds for weights and activations alike; `what` opens the message.
Verdict supports_tensor(const TensorQuant& quant, const char* what, bool whole = false) {
  if (quant.data_type != "int") return Verdict::no(str(what, " data_type '", quant.data_type, "' is not 'int'"));
  if (quant.bits < 2 || quant.bits > 8)
    return Verdict::no(str(what, " bits ", quant.bits, " is out of range; choose 2 to 8"));
  if (!whole && quant.group_size != -1 && quant.group_size <= 0)
    return Verdict::no(str(what, " group_size ", quant.group_size,
                           " is not possible; choose a positive number or -1 (one group a row)"));
  if (quant.block_rows != 0)
    return Verdict::no(
        str(what, " blocks of ", quant.block_rows, "x", quant.group_size, " are not possible with integers"));
  if (quant.super_bits != 0)
    return Verdict::no(
        str(what, " double quantization (super_bits ", quant.super_bits, ") needs an 'int_*_dq' data type"));
  if (quant.scale_dtype != "float16" && quant.scale_dtype != "bfloat16" && quant.scale_dtype != "float32")
    return Verdict::no(
        str(what, " scale_dtype '", quant.scale_dtype, "' is unknown; choose float16, bfloat16 or float32"));
  return Verdict::yes();
}

Verdict supports_weight(const LayerPlan& layer) {
  const TensorQuant& quant = layer.quant.weight;
  if (Verdict tensor = supports_tensor(quant, "weight"); !tensor) return tensor;
  if (rule_of(quant) != ScaleRule::full_range && !quant.sym)
    return Verdict::no(str("the scale rule '", quant.observer, "' is for symmetric weights; leave sym true"));
  if (sdk::is_range_observer(quant) && quant.group_size > 0 && layer.in_features % quant.group_size != 0)
    return Verdict::no(str("in_features ", layer.in_features, " is not divisible by group_size ", quant.group_size,
                           ", which the observer '", quant.observer, "' needs"));
  return sdk::supports_observer(quant, {"minmax", sdk::kMse, sdk::kNeuqi, sdk::kGptq, sdk::kPowerOfTwo});
}

// docs/spec/rtn.md 2: asymmetric integers keep min/max, and 8 bits gain nothing worth a calibration pass. NeUQI weighs
// the errors of all; the other observers see weights only.
bool searches(const TensorQuant& quant) {
  return quant.observer == sdk::kNeuqi || (quant.observer.empty() && quant.sym && quant.bits < 8);
}

}  // namespace

const SchemeInfo& IntScheme::info() const noexcept {
  return kInfo;
}

std::span<const Preset> IntScheme::presets() const {
  static const std::vector<Preset> all = make_presets();
  return all;
}

Verdict IntScheme::supports(const LayerPlan& layer) const {
  if (layer.quant.weight.quantized())
    if (Verdict weight = supports_weight(layer); !weight) return weight;
  // Every packed layout of weights alone fills whole words along both sides; AutoRound keeps other layers in 16 bits
  // whatever the format (docs/spec/schemes.md 8).
  if (layer.quant.weight.quantized() && !layer.quant.act.quantized() && !sdk::is_range_observer(layer.quant.weight) &&
      (layer.out_features % kWordCodes != 0 || layer.in_features % kWordCodes != 0))
    return Verdict::no(
        str("shape [", layer.out_features, ", ", layer.in_features, "] is not a multiple of ", kWordCodes));
  if (layer.quant.act.quantized() && layer.quant.act.data_type == "int") {
    const TensorQuant& quant = layer.quant.act;
    if (Verdict act = supports_tensor(quant, "activation", !quant.dynamic); !act) return act;
    if (!quant.dynamic && !quant.sym)
      return Verdict::no("static integer activations are symmetric: calibration keeps one maximum; set act_sym true");
  }
  return Verdict::yes();
}

double IntScheme::bits_per_weight(const LayerPlan& layer) const {
  const TensorQuant& quant = layer.quant.weight;
  if (!quant.quantized()) return 16;
  const sdk::GroupShape shape = sdk::group_shape(layer.out_features, layer.in_features, quant.group_size);
  const int per_group = (quant.scale_dtype == "float32" ? 32 : 16) + (quant.sym ? 0 : quant.bits);
  return quant.bits +
         static_cast<double>(per_group) * static_cast<double>(shape.per_row) / static_cast<double>(shape.in);
}

SchemeTraits IntScheme::traits(const LayerQuant& quant) const {
  const bool searched = searches(quant.weight);
  return {.searches = searched,
          .plain_by_default = quant.weight.bits >= 8 && quant.act.bits >= 8,
          .imatrix_when_tuned = searched && quant.act.bits > 4,  // docs/spec/signround.md 10
          .outlier_free_loss = sdk::leaves_out_outliers(quant),
          .integer_grid = true,
          .grid_search = quant.weight.observer.empty(),
          .independent_rows = sdk::has_independent_rows(quant.weight)};
}

WeightTuning IntScheme::begin_tuning(const at::Tensor& weight, const TensorQuant& quant,
                                     const TuningSetup& setup) const {
  const Weight w = weight_of(weight, quant);
  const int64_t n = w.shape.total();
  WeightTuning tuning;
  measure_range(w, tuning);
  tuning.v = at::zeros({n, w.shape.group}, at::kFloat);
  if (quant.observer == sdk::kNeuqi) {
    freeze_neuqi(weight, quant, setup.imatrix, tuning);
    return tuning;
  }
  // docs/spec/signround.md 10: the others tune as without it.
  const bool ext = setup.enable_alg_ext && quant.sym && quant.observer.empty();
  if (ext) {
    tuning.init_scale = search_scale(w, setup.imatrix, false);
    tuning.scale_limit = 2.0F;
  }
  if (setup.enable_minmax_tuning) {
    if (!ext) tuning.min_scale = at::ones({n}, at::kFloat);
    tuning.max_scale = at::ones({n}, at::kFloat);
  }
  return tuning;
}

void IntScheme::fake_quant_weight(const at::Tensor& weight, const WeightTuning& tuning, const TensorQuant& quant,
                                  at::Tensor& out) const {
  fake_quant(weight_of(weight, tuning, quant), out);
}

void IntScheme::fake_quant_weight_backward(const at::Tensor& weight, const WeightTuning& tuning,
                                           const TensorQuant& quant, const at::Tensor& grad_out,
                                           WeightGradient& gradient) const {
  backward(weight_of(weight, tuning, quant), tuning, grad_out, gradient);
}

at::Tensor IntScheme::fake_quant_act(const at::Tensor& x, const TensorQuant& quant,
                                     const at::Tensor& static_max) const {
  if (x.numel() > 0 && quant.observer == sdk::kCompressedTensors)
    return fake_quant_observed_activation(x, quant, static_max);
  if (!quant.dynamic && static_max.defined()) return fake_quant_static_activation(x, quant, static_max);
  TensorQuant per_token = quant;
  if (!quant.dynamic) per_token.group_size = -1;  // nothing was calibrated: an expert no token reached
  return fake_quant_activation(x, per_token);
}

QuantizedWeight IntScheme::quantize_tuned(const at::Tensor& weight, const WeightTuning& tuning,
                                          const TensorQuant& quant) const {
  return quantize(weight_of(weight, tuning, quant));
}

QuantizedWeight IntScheme::quantize_rtn(const at::Tensor& weight, const TensorQuant& quant, RtnMode mode,
                                        const at::Tensor& imatrix, int64_t imatrix_count, const at::Tensor&) const {
  if (sdk::is_range_observer(quant)) return quantize_observed(weight, quant);
  Weight w = weight_of(weight, quant);
  const bool neuqi = quant.observer == sdk::kNeuqi, rule = w.args.formula.rule != ScaleRule::full_range;
  if (mode == RtnMode::plain || rule || !searches(quant)) return quantize(w);
  const bool counted = imatrix.defined() && imatrix_count > 0;
  const at::Tensor importance = counted ? imatrix / imatrix_count : imatrix;
  if (neuqi) return quantize_neuqi(weight, quant, importance);
  const at::Tensor scale = search_scale(w, importance, true);
  w.args.given_scale = scale.const_data_ptr<float>();
  w.args.formula.scale = w.args.formula.weight;  // the search keeps the weight's dtype, and so do codes and scale
  return quantize(w);
}

at::Tensor IntScheme::dequantize(const QuantizedWeight& weight, const TensorQuant& quant, at::ScalarType dtype) const {
  return int_scheme::dequantize(weight, quant, dtype);
}

}  // namespace arkit::int_scheme
