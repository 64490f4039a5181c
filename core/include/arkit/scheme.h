#pragma once
// A Scheme turns real numbers into codes and back: one number format (int, mx_fp, nv_fp ...). It also gives tuning its
// fake quantization and the gradient of it, so that no weight-shaped autograd graph exists while a block is tuned.
//
// Notation (docs/spec/notation.md 2): a weight is [out_features, in_features]; groups run along in_features; n_groups =
// ceil(in / group_size), one per row for group_size -1 or in < group_size; "grouped" means [out * n_groups, group] with
// a zero-padded last group per row.

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <ATen/core/Tensor.h>

#include <arkit/descriptors.h>
#include <arkit/export.h>

namespace arkit {

// What SignRound tunes for one weight, and the constants the formula needs. An undefined tensor means "not tuned" /
// "not used".
struct WeightTuning {
  at::Tensor v;           // f32, grouped shape (padding included): rounding offset, starts at 0
  at::Tensor min_scale;   // f32 [n_groups_total], in [0, scale_limit], starts at 1
  at::Tensor max_scale;   // f32 [n_groups_total], in [0, scale_limit], starts at 1
  at::Tensor weight_min;  // [n_groups_total] in the weight's dtype: min(group, 0)
  at::Tensor weight_max;  // [n_groups_total] in the weight's dtype: max(group, 0)
  // f32 [n_groups_total]: scale (int) or multiplier (mx, nv) of the initial search (enable_alg_ext).
  at::Tensor init_scale;
  at::Tensor global_scale;   // f32 scalar shared by fused layers (NVFP4)
  float scale_limit = 1.0F;  // upper clamp of min_scale and max_scale: 1 (SignRound), 2 (enable_alg_ext)
};

// Gradients in the shapes of WeightTuning's trainables; undefined where the trainable is.
struct WeightGradient {
  at::Tensor v, min_scale, max_scale;
};

// Options of begin_tuning.
struct TuningSetup {
  bool enable_minmax_tuning = true;
  bool enable_alg_ext = false;  // SignRoundV2: initial scale search and the wider clamp (docs/spec/signround.md 10)
  at::Tensor imatrix;           // f32 [in_features], sum of x^2; undefined = uniform
  at::Tensor global_scale;      // see WeightTuning
};

// A quantized weight, one code per element, unpacked.
struct QuantizedWeight {
  // [out, in]: int -> u8 code in 0..2^bits-1 (zero point included); fp8 -> float8; fp4 -> u8 holding e2m1.
  at::Tensor codes;
  // [out, n_groups]; [1] per tensor; [ceil(out/M), ceil(in/N)] for blocks. dtype as TensorQuant.scale_dtype or the
  // scheme says.
  at::Tensor scale;
  // Like scale, integer values as f32; undefined for symmetric schemes, whose zero point is 2^(bits-1) (int) or 0.
  at::Tensor zero_point;
  at::Tensor global_scale;                               // f32 [1]; undefined unless the scheme has one
  std::map<std::string, at::Tensor, std::less<>> extra;  // "d_scale", "min", "d_min" of super-blocks; "g_idx", "offset"
};

// Constant for the life of the process.
struct SchemeInfo {
  std::string_view name;
  std::string_view summary;
  std::span<const std::string_view> data_types;  // TensorQuant.data_type values it understands
};

// How a weight is searched before rounding when nothing is tuned.
enum class RtnMode { plain, searched };  // searched = OPT-RTN (docs/spec/rtn.md 4)

// Rows are independent of each other in quantize_rtn, except where one scale serves several (group_size 0, blocks, a
// given global scale) or a search runs: large weights are rounded in strips of rows (ADR 0017).
//
// Stateless: every method is const and thread-safe. Weights come in f32, bf16 or f16, contiguous, on the CPU.
class ARKIT_EXPORT Scheme {
 public:
  virtual ~Scheme();

  [[nodiscard]] virtual const SchemeInfo& info() const noexcept = 0;
  [[nodiscard]] virtual std::span<const Preset> presets() const = 0;

  // May this layer be quantized as its plan says? Called at plan time.
  [[nodiscard]] virtual Verdict supports(const LayerPlan& layer) const = 0;

  // Bits of one weight element including scales and zero points as stored in an ideal packing; the budget of
  // AutoScheme.
  [[nodiscard]] virtual double bits_per_weight(const LayerPlan& layer) const = 0;

  // Does OPT-RTN search anything for this format, i.e. is an importance matrix worth collecting (docs/spec/rtn.md 2)?
  [[nodiscard]] virtual bool searches(const TensorQuant& quant) const = 0;

  // The scale fused layers must share, or an undefined tensor (most schemes). merge_global_scales picks the common one.
  [[nodiscard]] virtual at::Tensor global_scale(const at::Tensor& weight, const TensorQuant& quant) const;
  [[nodiscard]] virtual at::Tensor merge_global_scales(std::span<const at::Tensor> scales) const;

  [[nodiscard]] virtual WeightTuning begin_tuning(const at::Tensor& weight, const TensorQuant& quant,
                                                  const TuningSetup& setup) const = 0;

  // out <- dequantize(quantize(weight)) under `tuning`, in one pass. `out` is [out, in], f32 or bf16, contiguous. No
  // autograd. Clamps tuning.min_scale / max_scale to [0, scale_limit] in place first, as the reference does.
  virtual void fake_quant_weight(const at::Tensor& weight, WeightTuning& tuning, const TensorQuant& quant,
                                 at::Tensor& out) const = 0;

  // Adds d loss / d trainable to `gradient`, given grad_out = d loss / d fake_quant_weight ([out, in], f32 or bf16).
  // Allocates undefined members on first use. Straight-through estimator with the gradients of docs/spec/integers.md 3
  // and docs/spec/floats.md 8.
  virtual void fake_quant_weight_backward(const at::Tensor& weight, const WeightTuning& tuning,
                                          const TensorQuant& quant, const at::Tensor& grad_out,
                                          WeightGradient& gradient) const = 0;

  // Quantize-dequantize of an activation [..., in_features], differentiable in x (straight-through). `static_max` is
  // the calibrated absolute maximum for dynamic == false.
  [[nodiscard]] virtual at::Tensor fake_quant_act(const at::Tensor& x, const TensorQuant& quant,
                                                  const at::Tensor& static_max) const = 0;

  // Final codes of a tuned weight (tuning as begin_tuning made it = plain RTN with tuned-path arithmetic).
  [[nodiscard]] virtual QuantizedWeight quantize_tuned(const at::Tensor& weight, WeightTuning& tuning,
                                                       const TensorQuant& quant) const = 0;

  // Codes without tuning: plain RTN, or the scale search weighted by `imatrix` ([in] f32, sum of x^2 over
  // `imatrix_count` samples; undefined = uniform). `global_scale` as above, undefined = computed from this weight.
  [[nodiscard]] virtual QuantizedWeight quantize_rtn(const at::Tensor& weight, const TensorQuant& quant, RtnMode mode,
                                                     const at::Tensor& imatrix, int64_t imatrix_count,
                                                     const at::Tensor& global_scale) const = 0;

  [[nodiscard]] virtual at::Tensor dequantize(const QuantizedWeight& weight, const TensorQuant& quant,
                                              at::ScalarType dtype) const = 0;
};

}  // namespace arkit
