#pragma once
// A checkpoint as model-free quantization wants to see it: every expert of a fused 3-D tensor as a matrix of its own
// (docs/spec/model-free.md 4), every packed layer as real numbers.

#include <memory>

#include <ATen/core/Tensor.h>

#include <arkit/model_source.h>
#include <arkit/registry.h>

namespace arkit::model_free {

// "<p>.experts.gate_up_proj" [E, 2 o, i] is shown as "<p>.experts.{e}.gate_proj.weight" and "...up_proj.weight" [o, i];
// "w13" as w1 and w3; other projections keep their name. Packed layers (source->packed()) appear as
// "<layer>.weight" in bf16, dequantized exactly on load, and config() lacks the quantization_config. A source that has
// neither comes back as it is.
[[nodiscard]] std::unique_ptr<ModelSource> open_checkpoint(std::unique_ptr<ModelSource> source,
                                                           const Registry& registry);

struct CheckpointView {
  bool cut_experts = true;
  at::ScalarType dtype = at::kBFloat16;  // of packed layers
  bool attention_scales = true;          // false: static scales of attention modules are not shown
  bool tables_only = false;              // packed layers stay packed but for tables of embeddings, config() as it is
};

// The same view of a source that somebody else holds.
[[nodiscard]] std::unique_ptr<ModelSource> view_checkpoint(const ModelSource& source, const Registry& registry,
                                                           const CheckpointView& view);

// Families look rows of an embedding up and know no packed ones: the source with such tables (is_embedding_table) in
// `dtype`, everything else as it is; null when none is packed. `source` and `registry` outlive it.
[[nodiscard]] ARKIT_INTERNAL std::unique_ptr<ModelSource> view_plain_tables(const ModelSource& source,
                                                                            const Registry& registry,
                                                                            at::ScalarType dtype);

}  // namespace arkit::model_free
