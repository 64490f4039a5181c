#pragma once
// An Exporter turns quantized layers into the bytes of one format. One run may feed several export jobs; every job
// streams: a layer is on disk (in a partial file) when add_layer returns, nothing of it is kept.

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include <arkit/descriptors.h>
#include <arkit/export.h>
#include <arkit/model_source.h>
#include <arkit/scheme.h>

namespace arkit {

// One finished layer, lent for the call of add_layer.
struct LayerRecord {
  const LayerPlan& plan;
  const QuantizedWeight& quantized;
  // [out, in] in the model dtype: what the packed layer stands for; only when ExporterInfo.wants_dequantized.
  at::Tensor dequantized;
  at::Tensor bias;       // as in the source (dtype included); undefined = none
  at::Tensor act_scale;  // f32 [1] or per-channel static activation scale; undefined = none
  at::Tensor act_max;    // f32 [1] calibrated maximum behind it; undefined = none
  // [out, in] in the model dtype: the weight that was rounded, transforms included; only when
  // ExporterInfo.wants_source_weights. Undefined where codes come from another export (arkit convert).
  at::Tensor source;
  // f32 [in], the sum of squares of each input over all tokens of the samples, and in how many parts they came (samples;
  // of experts, tokens): Scheme::quantize_rtn takes the two. Only when ExporterInfo.wants_imatrix; undefined where no
  // samples are: in model-free runs, arkit convert, tables of embeddings, and experts that no token reached.
  at::Tensor imatrix;
  int64_t imatrix_count = 0;
};

// What an llm-compressor recipe asked for, in compressed-tensors' own words, for formats that record it as it is.
struct RecipeRecord {
  json::Object document;              // recipe.yaml: stages, groups, modifiers with every default filled in
  std::vector<json::Object> schemes;  // quantization schemes: targets, weights, input_activations, output_activations
  std::map<std::string, size_t, std::less<>> layers;  // quantized layer -> index of its scheme
  json::Value kv_cache_scheme;                        // quantization arguments, or null
};

// Settings of the run that formats record in their configuration (docs/spec/export-folder.md 7).
struct RunRecord {
  int64_t iters = 0, nsamples = 128, seqlen = 2048, batch_size = 8, gradient_accumulate_steps = 1, seed = 42;
  double lr = 0.0, minmax_lr = 0.0;  // 0 = automatic (1 / iters)
  bool enable_minmax_tuning = true, enable_quanted_input = true, enable_norm_bias_tuning = false;
  bool model_free = false;  // no model family was involved: plain tensors keep their dtype, biases too
  bool converted = false;   // layers come from another export as they are; the same holds
  std::string scale_dtype = "float16";
  std::string dataset;
  std::string reference_version = "0.16.1";    // autoround_version written for loaders that look at it
  std::optional<bool> disable_opt_rtn;         // unset = decided by the scheme
  std::shared_ptr<const RecipeRecord> recipe;  // null = the run was not made from a recipe file
};

struct ExportRequest {
  std::filesystem::path output_dir;  // exists, is empty, and becomes the export when all of it is written
  const ModelSource& source;         // outlives the job
  const QuantPlan& plan;             // outlives the job
  RunRecord run;
  at::ScalarType model_dtype = at::ScalarType::BFloat16;  // dtype the weights were cast to before quantization
  int64_t max_shard_bytes = int64_t{5} * 1000 * 1000 * 1000;
};

struct ExportReport {
  std::vector<std::filesystem::path> files;  // relative to output_dir
  int64_t bytes = 0;                         // of all of them
  double bits_per_weight = 0.0;              // packed bits of quantized layers / their weights
};

// One output directory being written. Destroyed without finish() = the partial files are removed. Belongs to one
// thread.
class ARKIT_EXPORT ExportJob {
 public:
  virtual ~ExportJob();
  virtual void add_layer(const LayerRecord& layer) = 0;  // [once per quantized layer, in block order]
  // A tensor that stays as it is, under its source name. `changed` = its values differ from the source (norm tuning).
  virtual void add_plain(std::string_view name, const at::Tensor& tensor, bool changed) = 0;
  // Calibrated ranges of an attention module [once per module of plan.attentions, for formats with
  // ExporterInfo.attention_scales].
  virtual void add_attention(const AttentionRanges& ranges);
  virtual ExportReport finish() = 0;  // index, configuration, companions; renames all into place
};

struct ExporterInfo {
  std::string_view name;  // what --format takes
  std::string_view summary;
  std::string_view quant_method;         // quantization_config.quant_method of its files; empty = none
  bool wants_dequantized = false;        // stores real numbers (fake): LayerRecord.dequantized is made for it
  bool wants_source_weights = false;     // LayerRecord.source is filled in
  bool wants_imatrix = false;            // LayerRecord.imatrix is: a run with a model family takes samples for it
  bool attention_scales = false;         // has a place for static scales of attention: add_attention is called
  std::string_view recipe_variant = {};  // the variant that records a recipe file (RunRecord.recipe); empty = none
};

// What Exporter::refine is asked about.
struct RefineRequest {
  const QuantPlan& plan;      // what the options made of the model, and what formats of the run have changed so far
  const ModelSource& source;  // configuration and tensor headers; weights are not read at plan time
  // Tables of token embeddings as layers (LayerKind::embedding). They are in no plan unless a format claims them.
  std::span<const LayerPlan> tables;
};

// A layer of the plan, or one of the tables, as a format needs it.
struct PlanChange {
  std::string layer;
  LayerQuant quant;    // of 16 bits: it stays as it is
  std::string reason;  // the rule, for people: "the first eighth of the blocks gets 8 bits"
};

struct Refinement {
  std::vector<PlanChange> changes;
  std::string why_not;  // why no change makes a file of this plan; empty = a file can be made
};

class ARKIT_EXPORT Exporter {
 public:
  virtual ~Exporter();
  [[nodiscard]] virtual const ExporterInfo& info() const noexcept = 0;

  // Other names --format accepts for variants of this format ("auto_round:auto_awq"); `open` sees the one used as
  // `variant`.
  [[nodiscard]] virtual std::span<const std::string_view> variants() const;

  // The preset `variant` stands for, taken where the user names no scheme; another one is refused. Empty = none.
  [[nodiscard]] virtual std::string_view implied_scheme(std::string_view variant) const;

  // What the format needs otherwise in a plan: schemes of layers, the head, tables. Asked at plan time, before
  // supports(); whatever works with a plan (AutoScheme, sizes, tuning, records) sees the changed one. Pure and settled:
  // of a plan with its own changes it changes nothing more. Changing a layer with user_fixed ends the run with a
  // message, and so does a change another format of the run cannot live with.
  [[nodiscard]] virtual Refinement refine(const RefineRequest& request, std::string_view variant) const;

  // Is a run that rounds `scheme` plainly into this format done without a model family, and recorded so
  // (docs/spec/model-free.md 1)?
  [[nodiscard]] virtual bool rounds_without_family(std::string_view scheme, std::string_view variant) const;

  // May this layer be written? Shape rules, bits, symmetry. Called at plan time for every quantized layer.
  [[nodiscard]] virtual Verdict supports(const LayerPlan& layer, std::string_view variant) const = 0;
  // May this whole plan be written (mixed bits, lm_head, tied embeddings)? Called once after supports() said yes to
  // each layer.
  [[nodiscard]] virtual Verdict supports_plan(const QuantPlan& plan, std::string_view variant) const;

  // Tensors of one layer by suffix; pure, the layout is documented above its definition. `plan` decides the packing
  // (docs/spec/export-folder.md 1).
  [[nodiscard]] virtual TensorMap pack(const LayerRecord& layer, const QuantPlan& plan,
                                       std::string_view variant) const = 0;
  // The inverse: unpack(pack(x)) == x is a conformance test.
  [[nodiscard]] virtual QuantizedWeight unpack(const LayerPlan& layer, const TensorMap& packed, const QuantPlan& plan,
                                               std::string_view variant) const = 0;

  // Bytes the packed tensors of one layer take on disk, known before any work.
  [[nodiscard]] virtual int64_t packed_bytes(const LayerPlan& layer, std::string_view variant) const = 0;

  [[nodiscard]] virtual std::unique_ptr<ExportJob> open(const ExportRequest& request,
                                                        std::string_view variant) const = 0;
};

}  // namespace arkit
