#pragma once
// What a run leaves beside its export: arkit-run.json (every resolved option, versions, hashes, per-layer error) and
// the model card.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <arkit/engine/jobs.h>
#include <arkit/exporter.h>
#include <arkit/json.h>
#include <arkit/registry.h>

#include "quant/recipes.h"

namespace arkit {

// What became of one quantized layer.
struct LayerOutcome {
  std::string name;
  std::string scheme;           // describe()
  double relative_error = 0.0;  // ||W - Wq|| / ||W||
};

// What became of one decoder block that was tuned.
struct BlockOutcome {
  int64_t block = 0;
  double loss_before = -1.0, loss_after = -1.0;
  int64_t best_iter = -1;
  double seconds = 0.0;
};

struct RunOutcome {
  std::vector<LayerOutcome> layers;
  std::vector<BlockOutcome> blocks;
  json::Object calibration;  // counts, hashes; empty = no data was used
  json::Object importance;   // of --imatrix: the file and what of it was used; empty = there was none
  json::Object auto_scheme;  // what decided the mix; empty = one scheme for all
  json::Object compute;      // dtype of block forwards and what chose it; empty = there were none
  json::Array transforms;    // what each of them did (transform/fold_record.h); empty = there were none
  json::Array source_files;  // name, bytes and sha256 of each weight file
  double seconds = 0.0;
  int64_t peak_rss_bytes = 0;
  std::string method;  // "SignRound", "OPT-RTN", "RTN"
};

// The plan as --dry-run and arkit-run.json show it.
[[nodiscard]] json::Object describe_plan(const QuantPlan& plan);

[[nodiscard]] json::Object run_record(const QuantizeOptions& options, const ResolvedTuning& tuning,
                                      const QuantPlan& plan, const ModelSource& source, const Registry& registry,
                                      const RunOutcome& outcome, const ExportReport& report, const std::string& format);

// Parts of a record that a conversion's has too. describe_source: `files` are name, bytes and sha256 of its weight
// files; `model` is what the user named it.
void record_program(json::Object& record);  // versions
[[nodiscard]] json::Object describe_source(const ModelSource& source, const json::Array& files,
                                           const std::string& model);
void record_plugins(json::Object& record, const Registry& registry);
void record_files(json::Object& record, const ExportReport& report);

// README.md of the export: front matter with base model and licence carried over, figures, the command that makes it
// again.
[[nodiscard]] std::string model_card(const QuantizeOptions& options, const QuantPlan& plan, const ModelSource& source,
                                     const RunOutcome& outcome, const ExportReport& report, const std::string& format);

// The value of `key` in the front matter of the source's model card, `most` characters of it; empty = none.
[[nodiscard]] std::string front_matter(const ModelSource& source, std::string_view key, size_t most = 64);

// Parts of a model card. `given` names a model whose config.json does not.
[[nodiscard]] std::string base_model_name(const ModelSource& source, const std::string& given);
[[nodiscard]] std::string card_front_matter(const ModelSource& source, const std::string& base,
                                            const std::string& scheme);
[[nodiscard]] std::string card_size(const ExportReport& report);
[[nodiscard]] std::string card_licence(const ModelSource& source);

// Highest resident set of this process so far, in bytes (VmHWM).
[[nodiscard]] int64_t peak_rss_bytes();

}  // namespace arkit
