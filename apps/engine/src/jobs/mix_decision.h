#pragma once
// AutoScheme inside a quantization: one mix, decided before the plan is made.

#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

#include <arkit/engine/jobs.h>
#include <arkit/json.h>
#include <arkit/part_file.h>

#include "jobs/mix_search.h"
#include "quant/plan.h"
#include "quant/scheme_resolver.h"

namespace arkit {

// Files that lie beside what a run writes: on the disk under part names, which go with the object unless they are
// published.
class MixFiles {
 public:
  void add(const std::filesystem::path& path, std::string_view content);
  void publish(Reporter& reporter);

 private:
  std::vector<PartFile> files_;
};

struct MixDecision {
  ResolvedScheme scheme;     // what layers without a choice get, under the name of the mix
  LayerChoices choices;      // schemes of layers, for build_plan
  QuantizeOptions planning;  // the options to plan with
  json::Object report;       // for arkit-run.json and --dry-run
  MixFiles files;            // to publish when the export is there; none in a dry run
};

// Nothing when options.auto_scheme has no options. Throws ErrorCode::usage for several budgets, ErrorCode::resource
// where the files that AutoSchemeOptions names cannot be written.
[[nodiscard]] std::optional<MixDecision> decide_mix(const QuantizeOptions& options, const Registry& registry,
                                                    Reporter& reporter);

// The picture and the layer_config that options.auto_scheme names. The latter needs a single mix.
[[nodiscard]] MixFiles mix_files(MixSearch& search, const std::vector<Mix>& mixes, const QuantizeOptions& options);

}  // namespace arkit
