#pragma once
// A Scheme turns real numbers into codes and back: one number format (int, mx_fp, nv_fp ...). It also brings what tunes
// a weight in that format: the tuning loop knows neither the format nor what is trained.
//
// Notation (docs/spec/notation.md 2): a weight is [out_features, in_features]; groups run along in_features; n_groups =
// ceil(in / group_size), one per row for group_size -1 or in < group_size; "grouped" means [out * n_groups, group] with
// a zero-padded last group per row.

#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include <arkit/descriptors.h>
#include <arkit/export.h>

namespace arkit {

// Options of Scheme::tuner.
struct TuningSetup {
  bool enable_minmax_tuning = true;
  bool enable_alg_ext = false;  // SignRoundV2: initial scale search and the wider clamp (docs/spec/signround.md 10)
  at::Tensor imatrix;           // f32 [in_features], sum of x^2; undefined = uniform
  at::Tensor global_scale;      // f32 scalar shared by fused layers; undefined = that of this weight
};

// A tensor that is trained while a block is tuned.
struct Trainable {
  // Which learning rate moves it: that of rounding offsets or that of ranges (--lr, --minmax_lr).
  enum class Rate { offset, range };

  std::string_view name;  // of static storage: "v", "max_scale"; unique in its tuner
  at::Tensor value;       // f32, contiguous; memory of the tuner, which the optimizer writes
  at::Tensor gradient;    // as `value`; undefined until backward() first adds to it; the optimizer zeroes it in place
  Rate rate = Rate::offset;
  float low = -std::numeric_limits<float>::infinity();  // who trains clamps `value` to low .. high before each use
  float high = std::numeric_limits<float>::infinity();
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
  at::Tensor global_scale;  // f32 [1]; undefined unless the scheme has one
  // f32 [out, n_groups]: what is added to scale * code instead of a zero point, where a file stores it rounded (mlx).
  at::Tensor offset;
  // Super-blocks (double quantization): `scale` and `group_min` [out, n_groups] are codes of TensorQuant::super_bits,
  // super_scale and super_min [out, n_super] what a step of them is worth; a weight is super_scale * scale * code -
  // super_min * group_min. Undefined for all other formats; group_min and super_min where nothing is subtracted.
  at::Tensor group_min, super_scale, super_min;
  at::Tensor group_index;  // I32 [in]: the group of each input where groups are no runs (act order); undefined = runs
  at::Tensor act_max;      // f32 [1]: calibrated maximum of the input, as a file gives it; undefined = none
};

// The tensors of a quantized weight by name, undefined ones left out: what goes over all of them (checks, comparisons,
// the door of backends) does not forget one. The names are part of that door (backend_c.h).
struct NamedTensor {
  std::string_view name;
  at::Tensor tensor;
};
[[nodiscard]] ARKIT_EXPORT std::vector<NamedTensor> tensors_of(const QuantizedWeight& weight);

// One weight while it is tuned: its trained tensors, and what they make of it. Straight-through gradients
// (docs/spec/integers.md 3, docs/spec/floats.md 8), so that no weight-shaped autograd graph exists. Refers to the weight
// and the scheme it was made of. One thread at a time.
class ARKIT_EXPORT WeightTuner {
 public:
  virtual ~WeightTuner();

  // The same objects in the same order for life; empty = nothing to train.
  [[nodiscard]] virtual std::span<Trainable> trainables() = 0;

  // out <- dequantize(quantize(weight)) under the trained values, in one pass. `out` is [out, in], f32 or bf16,
  // contiguous. No autograd.
  virtual void fake_quant(at::Tensor& out) = 0;

  // Adds d loss / d value to each trainable's gradient, given grad_out = d loss / d fake_quant ([out, in], f32 or bf16).
  virtual void backward(const at::Tensor& grad_out) = 0;

  // Final codes under the trained values; as the tuner was made: plain RTN with the arithmetic of the tuned path.
  [[nodiscard]] virtual QuantizedWeight finish() = 0;
};

// Constant for the life of the process.
struct SchemeInfo {
  std::string_view name;
  std::string_view summary;
  std::span<const std::string_view> data_types;  // TensorQuant.data_type values it understands
};

// How a weight is searched before rounding when nothing is tuned.
enum class RtnMode { plain, searched };  // searched = OPT-RTN (docs/spec/rtn.md 4)

// What planning and tuning have to know of a number format, given how a layer's weight and input are quantized.
struct SchemeTraits {
  // Does OPT-RTN search anything, i.e. is an importance matrix worth collecting (docs/spec/rtn.md 2)?
  bool searches = false;
  // Is OPT-RTN left out unless asked for (docs/spec/rtn.md 2)?
  bool plain_by_default = false;
  // Does the initial search of enable_alg_ext weigh errors by the importance matrix (docs/spec/signround.md 10)?
  bool imatrix_when_tuned = false;
  // Do tuners start from such a search whatever enable_alg_ext says?
  bool tuned_from_search = false;
  // Does enable_alg_ext leave the largest errors out of the loss (docs/spec/signround.md 10)?
  bool outlier_free_loss = false;
  // Are codes whole numbers around a zero point, as layouts of integers store them?
  bool integer_grid = false;
  // Does the observer "neuqi" search scale and zero point of a group (docs/spec/rtn.md 6)?
  bool grid_search = false;
  // Do codes and scales of a row depend on no other row but those of its block (TensorQuant::block_rows) when it is
  // rounded plainly? Such weights are rounded strip by strip (ADR 0017).
  bool independent_rows = true;
  // The ways to search scales that --scale_search chooses from, the usual one first; empty = there is one way. Static
  // storage.
  std::span<const std::string_view> scale_searches = {};
};

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

  [[nodiscard]] virtual SchemeTraits traits(const LayerQuant& quant) const = 0;

  // The scale fused layers must share, or an undefined tensor (most schemes). merge_global_scales picks the common one.
  [[nodiscard]] virtual at::Tensor global_scale(const at::Tensor& weight, const TensorQuant& quant) const;
  [[nodiscard]] virtual at::Tensor merge_global_scales(std::span<const at::Tensor> scales) const;

  // What tunes `weight`, which outlives it. Throws ErrorCode::input for a NaN or an infinity. Schemes that tune as
  // SignRound does derive from sdk::SignRoundScheme, which answers this.
  [[nodiscard]] virtual std::unique_ptr<WeightTuner> tuner(const at::Tensor& weight, const TensorQuant& quant,
                                                           const TuningSetup& setup) const = 0;

  // Quantize-dequantize of an activation [..., in_features], differentiable in x (straight-through). `static_max` is
  // the calibrated absolute maximum for dynamic == false.
  [[nodiscard]] virtual at::Tensor fake_quant_act(const at::Tensor& x, const TensorQuant& quant,
                                                  const at::Tensor& static_max) const = 0;

  // Codes without tuning: plain RTN, or the scale search weighted by `imatrix` ([in] f32, sum of x^2 over
  // `imatrix_count` samples; undefined = uniform). `global_scale` as above, undefined = computed from this weight.
  [[nodiscard]] virtual QuantizedWeight quantize_rtn(const at::Tensor& weight, const TensorQuant& quant, RtnMode mode,
                                                     const at::Tensor& imatrix, int64_t imatrix_count,
                                                     const at::Tensor& global_scale) const = 0;

  [[nodiscard]] virtual at::Tensor dequantize(const QuantizedWeight& weight, const TensorQuant& quant,
                                              at::ScalarType dtype) const = 0;
};

}  // namespace arkit
