#pragma once
// Base of the number formats that store a small-format element a value and a scale a group: mx_fp, mx_int, nv_fp4, fp8.
// A format says how a scale follows from the largest magnitude of its group and how scales are stored; everything over
// elements (fake quantization, its gradient, codes, search, activations) happens here, in one pass over memory each.

#include <span>

#include <arkit/sdk/element_grid.h>
#include <arkit/sdk/group.h>
#include <arkit/sdk/signround_scheme.h>

namespace arkit::sdk {

// How scales lie over a matrix: one a group of a row; or shared by the groups of `rows` consecutive rows (blocks; all
// rows: one scale a tensor).
struct ScaleLayout {
  GroupShape groups;
  int64_t rows = 1;

  [[nodiscard]] int64_t bands() const noexcept { return (groups.out + rows - 1) / rows; }
  [[nodiscard]] int64_t scales() const noexcept { return bands() * groups.per_row; }
};

// group_size > 0 and -1 as group_shape; 0: one scale; quant.block_rows > 0: blocks of block_rows x group_size.
[[nodiscard]] ScaleLayout scale_layout(int64_t out_features, int64_t in_features, const TensorQuant& quant);

// The elements of one format.
struct ElementRule {
  ElementGrid grid;
  bool follow_grid = false;  // gradient of an element: element / t for normal numbers, 1 for subnormal ones (mx_fp)
  bool signed_zero = false;  // a negative value that rounds to zero keeps its sign
};

class ScaledScheme : public SignRoundScheme {
 public:
  [[nodiscard]] double bits_per_weight(const LayerPlan& layer) const override;
  [[nodiscard]] SchemeTraits traits(const LayerQuant& quant) const override;
  [[nodiscard]] WeightTuning begin_tuning(const at::Tensor& weight, const TensorQuant& quant,
                                          const TuningSetup& setup) const override;
  void fake_quant_weight(const at::Tensor& weight, const WeightTuning& tuning, const TensorQuant& quant,
                         at::Tensor& out) const override;
  void fake_quant_weight_backward(const at::Tensor& weight, const WeightTuning& tuning, const TensorQuant& quant,
                                  const at::Tensor& grad_out, WeightGradient& gradient) const override;
  [[nodiscard]] at::Tensor fake_quant_act(const at::Tensor& x, const TensorQuant& quant,
                                          const at::Tensor& static_max) const override;
  [[nodiscard]] QuantizedWeight quantize_tuned(const at::Tensor& weight, const WeightTuning& tuning,
                                               const TensorQuant& quant) const override;
  [[nodiscard]] QuantizedWeight quantize_rtn(const at::Tensor& weight, const TensorQuant& quant, RtnMode mode,
                                             const at::Tensor& imatrix, int64_t imatrix_count,
                                             const at::Tensor& global_scale) const override;
  [[nodiscard]] at::Tensor dequantize(const QuantizedWeight& weight, const TensorQuant& quant,
                                      at::ScalarType dtype) const override;

  // All f32 [scales].
  struct Scales {
    at::Tensor scale;    // an element of 1 stands for this
    at::Tensor inverse;  // values are multiplied by it; undefined = divided by `scale`
    at::Tensor coded;    // the number that is stored for `scale` (encode_scale)
    at::Tensor slope;    // d scale / d peak, straight through roundings
  };

 protected:
  [[nodiscard]] virtual ElementRule element_rule(const TensorQuant& quant) const = 0;

  // Scales from the largest magnitudes, f32 [scales]. `global_scale` f32 [1] or undefined. Operations are rounded to
  // `dtype` where the format computes in the weight's dtype.
  [[nodiscard]] virtual Scales scales_of(const at::Tensor& peak, const at::Tensor& global_scale,
                                         const TensorQuant& quant, at::ScalarType dtype) const = 0;

  // What QuantizedWeight::scale holds, from Scales::coded in the same shape; and back to f32 values of `Scales::scale`.
  [[nodiscard]] virtual at::Tensor encode_scale(const at::Tensor& coded, const TensorQuant& quant,
                                                at::ScalarType dtype) const = 0;
  [[nodiscard]] virtual at::Tensor decode_scale(const at::Tensor& stored, const at::Tensor& global_scale,
                                                const TensorQuant& quant) const = 0;
  [[nodiscard]] virtual int stored_scale_bits(const TensorQuant& quant) const = 0;

  // Factors of the largest magnitude that a search tries, 1 first; empty = nothing is searched.
  [[nodiscard]] virtual std::span<const float> multipliers(const TensorQuant& quant) const;
  // Does the format compute ranges and quotients in the weight's dtype when nothing is tuned?
  [[nodiscard]] virtual bool narrow(const TensorQuant& quant) const;
  // Global scale of an activation; undefined = the format has none.
  [[nodiscard]] virtual at::Tensor act_global_scale(const at::Tensor& x, const at::Tensor& static_max,
                                                    const TensorQuant& quant) const;

 private:
  struct Tuned;
  [[nodiscard]] bool searches(const TensorQuant& quant) const;
  [[nodiscard]] Tuned tuned(const at::Tensor& weight, const WeightTuning& tuning, const TensorQuant& quant) const;
  [[nodiscard]] at::Tensor search(const at::Tensor& weight, const ScaleLayout& layout, const at::Tensor& peak,
                                  const TensorQuant& quant, const at::Tensor& imatrix, bool repair) const;
  // Largest magnitudes [scales] under observer "mse"; `weight` in the observer's dtype.
  [[nodiscard]] at::Tensor shrunk(const at::Tensor& weight, const ScaleLayout& layout, const at::Tensor& peak,
                                  const TensorQuant& quant) const;
  [[nodiscard]] QuantizedWeight encode(const at::Tensor& weight, const ScaleLayout& layout, const Scales& scales,
                                       const at::Tensor& v, const at::Tensor& global_scale, const TensorQuant& quant,
                                       at::ScalarType dtype) const;
};

}  // namespace arkit::sdk
