#pragma once
// What a scheme costs a layer of the budget, in bits of the whole layer.

#include <cstdint>
#include <string>

#include <arkit/descriptors.h>
#include <arkit/export.h>
#include <arkit/exporter.h>
#include <arkit/model_source.h>

namespace arkit::auto_scheme {

// AutoRound's formula (docs/spec/auto-scheme.md 4): codes, and 8 or 16 bits of scale and the bits of a zero point a
// group; symmetric integers pay for zero points too. FP8_BLOCK, which it has no answer for, counts one scale a block.
// `codes_only` = ignore_scale_zp_bits: weights x bits. Throws ErrorCode::input for shapes whose bits do not fit.
[[nodiscard]] ARKIT_INTERNAL int64_t autoround_bits(const LayerPlan& layer, const TensorQuant& weight,
                                                    bool codes_only = false);

enum class Accounting {
  exact,      // bytes of the packed tensors as the exporter writes them, without the bias
  autoround,  // autoround_bits
  codes_only  // the same without scales and zero points
};

// Bits of a layer under one accounting. `exporter` and `weights` outlive it.
class CostModel {
 public:
  CostModel(Accounting accounting, const Exporter& exporter, std::string variant, const WeightSource& weights)
      : accounting_(accounting), exporter_(exporter), variant_(std::move(variant)), weights_(weights) {}

  // A layer that is left alone costs what the source stores (exact) or 16 bits a weight.
  [[nodiscard]] ARKIT_INTERNAL int64_t bits(const LayerPlan& layer, const LayerQuant& quant) const;
  [[nodiscard]] Accounting accounting() const noexcept { return accounting_; }

 private:
  Accounting accounting_;
  const Exporter& exporter_;
  std::string variant_;
  const WeightSource& weights_;
};

}  // namespace arkit::auto_scheme
