#pragma once
// Plain rounding of a whole model: everything `arkit quantize` does between plan and finished files when no sample goes
// through the model.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include <ATen/core/Tensor.h>

#include <arkit/descriptors.h>
#include <arkit/exporter.h>
#include <arkit/log.h>
#include <arkit/model_adapter.h>
#include <arkit/model_source.h>
#include <arkit/registry.h>

namespace arkit {

// Where the results of plain rounding go. Layers and tensors come in order, one at a time, but from any thread.
class RoundingSink {
 public:
  virtual ~RoundingSink() = default;
  [[nodiscard]] virtual bool wants_dequantized() const = 0;
  [[nodiscard]] virtual bool wants_source() const = 0;  // LayerRecord.source
  // Is this tensor of the source to be copied?
  [[nodiscard]] virtual bool takes(std::string_view tensor) const = 0;
  // The work comes to the bytes begin .. end of all weight files put behind each other; may wait.
  virtual void coming_to(int64_t begin, int64_t end) = 0;
  virtual void write_layer(LayerRecord record, double relative_error) = 0;
  // Of a large layer that is read in strips: may they be written so? Then write_strip for each, in any order, other layers
  // between them, and end_layer.
  [[nodiscard]] virtual bool takes_strips(const LayerPlan& layer) const = 0;
  virtual void write_strip(const LayerRecord& strip, int64_t first_row) = 0;
  virtual void end_layer(const LayerPlan& layer, double relative_error) = 0;
  virtual void write_tensor(const std::string& name, const at::Tensor& tensor) = 0;
  // A decoder block is finished, one of `num_blocks`.
  virtual void block_done(int64_t block, int64_t num_blocks, double seconds) = 0;
};

// What is rounded, and how.
struct RoundingRun {
  const Registry& registry;
  const ModelSource& source;
  Model& model;
  const QuantPlan& plan;
  Reporter& reporter;
  at::ScalarType compute_dtype;         // of the weights that are rounded: what the model was opened with
  at::ScalarType model_dtype;           // of dequantized weights
  bool model_free = false;              // blocks are counted by tensor names
  std::optional<bool> disable_opt_rtn;  // how to round (rtn_mode)
  int64_t most_files = 0;               // of the source that are read at a time; 0 = any number
  // A matrix from a file, by layer: f32 [in], or undefined. Null = there is none.
  std::function<at::Tensor(std::string_view)> importance = {};
};

// Rounds, packs and writes every layer and copies every other tensor, in the order of round_plan. All threads take
// strips of layers and tensors from one queue, so none waits for another at the end of a layer; while one packs and
// writes a layer the others round the next; as many layers are open as fit into the memory of the two largest.
void round_model(const RoundingRun& run, RoundingSink& sink);

}  // namespace arkit
