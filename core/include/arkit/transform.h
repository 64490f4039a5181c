#pragma once
// A Transform changes the weights of a model before they are rounded, so that it computes what it did and rounds with
// less loss (docs/adr/0037-transforms.md). It chooses numbers; core and engine know where they may go, fold them into
// weights and record them, so that no transform can change what a model computes.

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include <arkit/descriptors.h>
#include <arkit/export.h>
#include <arkit/json.h>
#include <arkit/model_adapter.h>
#include <arkit/model_source.h>

namespace arkit {

// Where scales of channels can be folded: the channels that `from` gives are divided by them, the columns of `into`,
// which alone read these channels, are multiplied. Nothing stays for run time.
struct ScalePlace {
  int64_t block = -1;
  std::string from;  // a norm's weight as the checkpoint names it, or a layer (its rows and its bias)
  bool from_norm = false;
  std::vector<std::string> into;  // layers
  std::string measured;           // the layer whose output shows what rounding `into` costs; `into` itself, if alone
  int64_t channels = 0;           // of `from`
  // Grouped queries: columns of `into` are [heads, repeats, channels / heads], each channel is read `repeats` times.
  int64_t heads = 1, repeats = 1;
};

// Scales chosen for a place. Numbers of bfloat16, so that a record of them is short; the engine rounds them.
struct ScaleChoice {
  at::Tensor scales;   // f32 [channels], finite and positive; undefined = the place stays as it is
  json::Object found;  // what the search saw, for the record: exponent, losses
};

// A block whose turn has come, with the samples that reach it. What was folded before is in its weights.
class ARKIT_EXPORT BlockScene {
 public:
  virtual ~BlockScene();
  [[nodiscard]] virtual const Linear& layer(std::string_view name) const = 0;
  [[nodiscard]] virtual const LayerQuant& quant(std::string_view layer) const = 0;
  [[nodiscard]] virtual int64_t num_samples() const = 0;
  // Runs the block on these samples, some at a time and in order; `hook` sees every layer.
  virtual void run(std::span<const int64_t> samples, BlockHook& hook) const = 0;
  // `weights` of `layers` as plain rounding would leave them, by the schemes of the plan; layers of one fused group
  // share what the scheme makes them share.
  [[nodiscard]] virtual std::vector<at::Tensor> rounded(std::span<const std::string> layers,
                                                        std::span<const at::Tensor> weights) const = 0;
  // A layer's input as the quantized model rounds it; x itself where activations stay or have calibrated ranges.
  [[nodiscard]] virtual at::Tensor rounded_input(std::string_view layer, const at::Tensor& x) const = 0;
  // x [..., in] weight^T + bias: the fastest product of this CPU, the same for any number of threads.
  [[nodiscard]] virtual at::Tensor product(const at::Tensor& x, const at::Tensor& weight,
                                           const at::Tensor& bias) const = 0;
};

// Where the tensors of a decoder are, by what they do. Layers without ".weight", norms with it.
struct BlockRoles {
  std::string q, k, v, o, gate, up, down;
  std::string attention_norm, feed_forward_norm;
};
struct ModelRoles {
  std::string embedding, final_norm, embedding_origin, head_origin;  // tensors; origin: where the values are kept
  bool tied = false;                                                 // one tensor serves both
  int64_t hidden = 0, intermediate = 0, head_dim = 0;
  std::vector<BlockRoles> blocks;
};
// Throws ErrorCode::unsupported where it is not known how the family's blocks are wired.
using RolesOf = std::function<ModelRoles(const ModelSource&)>;

// What a transformed checkpoint needs at run time.
class ARKIT_EXPORT RunTimePart {
 public:
  virtual ~RunTimePart();
  // Changes the inputs of the plan's quantized layers and only of those, says so in their LayerQuant::rotation, and
  // undoes what an earlier call did. Throws ErrorCode::unsupported naming the first layer it cannot do that to.
  virtual void apply(QuantPlan& plan) = 0;
  // The same for the layers whose inputs an export changes: the source as that export saw it.
  virtual void apply_as(const ModelSource& exported) = 0;
};

struct TransformedCheckpoint {
  std::unique_ptr<ModelSource> source;
  std::unique_ptr<RunTimePart> run_time;  // refers to *source
};

// One run of a transform, block after block.
class ARKIT_EXPORT BlockTransform {
 public:
  virtual ~BlockTransform();
  // Before the first choice in a block; `places` are those it will be asked about, in this order.
  virtual void begin(std::span<const ScalePlace> places, const BlockScene& scene) = 0;
  [[nodiscard]] virtual ScaleChoice choose(const ScalePlace& place, const BlockScene& scene) = 0;
};

enum class TransformStage {
  checkpoint,  // needs no samples: another source around the original, before anything is planned (around)
  block        // needs what reaches a block: scales, chosen before it is rounded (wants, start)
};

struct TransformInfo {
  std::string_view name;  // what --algs takes
  std::string_view summary;
  TransformStage stage = TransformStage::block;
  std::string_view option = {};  // of stage checkpoint: the option of `quantize` whose text around() takes
};

class ARKIT_EXPORT Transform {
 public:
  virtual ~Transform();
  [[nodiscard]] virtual const TransformInfo& info() const noexcept = 0;
  // Every setting with its value, from those the user gave: what start() takes and arkit-run.json records. Throws
  // ErrorCode::usage for an unknown name or a value out of range.
  [[nodiscard]] virtual json::Object settings(const json::Object& given) const = 0;
  // Stage block. Would scales at this place lessen what rounding costs? Asked at plan time; a no is for people.
  [[nodiscard]] virtual Verdict wants(const ScalePlace& place, const QuantPlan& plan) const;
  [[nodiscard]] virtual std::unique_ptr<BlockTransform> start(const json::Object& settings) const;
  // Stage checkpoint. What it is after the transform; `text` as the option's user typed it. Throws ErrorCode::usage for a
  // text it cannot read, ErrorCode::unsupported for a model it cannot change.
  [[nodiscard]] virtual TransformedCheckpoint around(std::unique_ptr<ModelSource> original, const std::string& text,
                                                     const RolesOf& roles) const;
  // The text that tells what an export was changed by at run time, from what it says of itself; empty = not by this.
  // Throws ErrorCode::unsupported where that does not tell all of it.
  [[nodiscard]] virtual std::string recorded(const ModelSource& exported) const;
};

}  // namespace arkit
