#pragma once
// From what the host gives of a layer ("codes", "scale", "zero_point" ... of arkit/scheme.h) to codes the kernels know.

#include <cstdint>
#include <string>
#include <vector>

#include <arkit/sdk/backend.h>

#include "float_rounding.h"
#include "packed_weight.h"

namespace arkit::ark {

// Four bits of sign, exponent and mantissa, whose values are multiples of a half: 0 .5 1 1.5 2 3 4 6.
bool is_e2m1(const sdk::QuantSpec& quant);

// 8-bit floats, which are multiplied as floats.
bool is_float8(const sdk::QuantSpec& quant);

// Why the kernels have no codes for this layer; empty = they have.
std::string why_no_codes(const sdk::LinearSpec& layer);

// Any floating point the host knows, as float32.
std::vector<float> floats_of(const sdk::TensorView& tensor);

// Owns what `view` points to, but for codes that are used as they are: those are the weights'.
struct LayerCodes {
  LayerCodes(const sdk::LinearSpec& layer, const sdk::Weights& weights);
  LayerCodes(const LayerCodes&) = delete;
  LayerCodes& operator=(const LayerCodes&) = delete;

  Codes view;
  // The input each column of the codes is for, where groups are no runs of inputs; empty = the column's own.
  std::vector<int32_t> order;
  Rounding rounding;  // of its input; see is_float8

 private:
  void read_groups(const sdk::LinearSpec& layer, const sdk::Weights& weights);
  void read_integers(const sdk::LinearSpec& layer, const sdk::Weights& weights);
  void read_float8(const sdk::LinearSpec& layer, const sdk::Weights& weights);
  void read_floats(const sdk::LinearSpec& layer, const sdk::Weights& weights);
  void sort_columns(const sdk::LinearSpec& layer, const sdk::Weights& weights);

  std::vector<uint8_t> codes_, table_;
  std::vector<float> scales_, zeros_, offsets_;
};

}  // namespace arkit::ark
