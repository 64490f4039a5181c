#pragma once
// The order in which a run without samples goes through its model: what is quantized, what is copied, and what each
// takes of memory meanwhile.

#include <cstdint>
#include <functional>
#include <vector>

#include <arkit/descriptors.h>
#include <arkit/export.h>
#include <arkit/model_adapter.h>
#include <arkit/model_source.h>

namespace arkit {

// Is a layer's weight read in strips of rows instead of by the model, and its codes written so?
enum class LayerStrips { none, read, read_and_written };
using StripsOf = std::function<LayerStrips(const LayerPlan& layer, const TensorInfo& tensor)>;

// One layer to quantize or one tensor to copy.
struct RoundUnit {
  const LayerPlan* layer = nullptr;    // null = a tensor to copy
  const TensorInfo* tensor = nullptr;  // the layer's weight as the source has it, where it has it under that name
  LayerStrips strips = LayerStrips::none;
  int64_t begin = 0;       // where it lies when all tensors of the source are put behind each other
  int64_t first_file = 0;  // of the source, counted from 0: where its block begins and ends
  int64_t last_file = 0;
  int64_t rounding_bytes = 0;  // resident while it is read (and rounded)
  int64_t writing_bytes = 0;   // and while it is packed and written
};

struct RoundPlan {
  std::vector<RoundUnit> units;
  int64_t largest_bytes = 0;  // of the layers to quantize, as stored or as 16-bit numbers
};

// In block order, each block followed by the tensors under its name, then what is left; a model-free plan follows the
// files instead, as its blocks do. Layers of a block are neighbours. `keeps_dequantized`: an exporter wants them.
[[nodiscard]] ARKIT_INTERNAL RoundPlan round_plan(const QuantPlan& plan, const Model& model,
                                                  const WeightSource& weights, bool model_free, bool keeps_dequantized,
                                                  const StripsOf& strips_of);

}  // namespace arkit
