#pragma once
// The state of one quantization run, handed from step to step of quantize_job.cpp by name.

#include <set>
#include <string>
#include <vector>

#include <arkit/engine/jobs.h>
#include <arkit/exporter.h>
#include <arkit/model_adapter.h>
#include <arkit/registry.h>

#include "jobs/export_set.h"
#include "jobs/importance.h"
#include "jobs/low_disk.h"
#include "jobs/run_record.h"
#include "jobs/source_hashes.h"
#include "quant/recipes.h"
#include "tuning/process_block.h"

namespace arkit {

struct QuantizeRun {
  const QuantizeOptions& options;
  const ResolvedTuning& tuning;
  const Registry& registry;
  Reporter& reporter;
  const ModelSource& source;
  Model& model;
  const QuantPlan& plan;
  ExportSet& exports;
  SourceHashes& hashes;
  RunOutcome& outcome;
  at::ScalarType compute_dtype;                  // the model was opened with
  at::ScalarType model_dtype;                    // of the exported model; forwards may compute in another
  bool model_free = false;                       // see PlannedModel
  const LowDisk* low_disk = nullptr;             // likewise
  const GivenImportance* importance = nullptr;   // likewise
  GatheredImportance* gathered = nullptr;        // what --save_imatrix keeps; null = nothing
  std::set<std::string, std::less<>> written{};  // source tensors accounted for
};

// Writes one finished layer to every export and notes its error. `layer` still holds the weight it had before.
void write_layer(QuantizeRun& run, const Linear& layer, const QuantizedLayer& result);

// Writes a layer to every export, with the bias of the source unless it has another, and notes its error.
void write_record(QuantizeRun& run, LayerRecord record, double relative_error);

// Rounds the embeddings a recipe asks for, which no block holds.
void quantize_embeddings(QuantizeRun& run);

// Hands every source tensor under `prefix` that no layer took to the exports as it is. Tied heads and RoPE buffers are
// dropped by rule.
void write_untouched(QuantizeRun& run, std::string_view prefix);

// Rounds and writes the whole model where no sample goes through it.
void quantize_without_samples(QuantizeRun& run);

}  // namespace arkit
